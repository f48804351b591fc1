//! Pictures: a bar for each server.

use svg::Document;
use svg::node::element::{Group, Rectangle, Style, Text, Title};

use crate::report::{Results, Row};
use crate::server::Kind;
use crate::table::number;

const WIDTH: usize = 860;
const NAMES: usize = 230;
const VALUES: usize = 70;
const BAR: usize = 14;
const STEP: usize = 22;
const TOP: usize = 64;
const BOTTOM: usize = 14;
/// No bar is longer than so many times the shortest of bellwire or a peer: it would make all others look alike.
const LONGEST: f64 = 20.0;

/// It has a background of its own, so that it can be read on any page, whichever of the two the viewer prefers.
const STYLE: &str = "
.card { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-size: 16px; font-weight: 600; fill: #24292f } .end { text-anchor: end }
rect.bellwire { fill: #bf5f00 } rect.peer { fill: #7d8590 } rect.floor, rect.raw { fill: #c4cad1 }
text.bellwire { font-weight: 600; fill: #bf5f00 }
@media (prefers-color-scheme: dark) {
  .card { fill: #0d1117 } text { fill: #9ea7b3 } .title { fill: #e6edf3 }
  rect.bellwire { fill: #f0883e } rect.floor, rect.raw { fill: #4b535d }
  text.bellwire { fill: #f0883e }
}
";

/// Bars of processor time, or of memory where there is none.
pub fn draw(results: &Results) -> Document {
    let cpu = results.rows.iter().any(|row| row.median(|figures| figures.cpu).is_some());
    let value = |row: &Row| row.median(|figures| if cpu { figures.cpu } else { figures.memory });
    let (unit, digits) = if cpu { ("µs of the server's processor for each", 2) } else { ("bytes", 0) };
    let mut rows: Vec<(&Row, f64)> = results.rows.iter().filter_map(|row| Some((row, value(row)?))).collect();
    rows.sort_by(|(_, one), (_, other)| one.total_cmp(other));

    let height = TOP + rows.len() * STEP + BOTTOM;
    let scale = scale(&rows);
    let mut bars = Group::new();
    for (at, (row, value)) in rows.iter().enumerate() {
        bars = bars.add(bar(row, *value, scale, TOP + at * STEP, &number(Some(*value), digits)));
    }
    Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("role", "img")
        .add(Title::new(results.title))
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("width", WIDTH).set("height", height).set("rx", 6).set("class", "card"))
        .add(text(results.title, 12, 26, "title"))
        .add(text(&format!("{unit}; less is better"), 12, 46, ""))
        .add(bars)
}

/// What the longest bar stands for.
fn scale(rows: &[(&Row, f64)]) -> f64 {
    let all = rows.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let libraries = rows.iter().filter(|(row, _)| matches!(row.kind, Kind::Bellwire | Kind::Peer));
    let shortest = libraries.map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    all.min(shortest * LONGEST)
}

fn bar(row: &Row, value: f64, scale: f64, top: usize, label: &str) -> Group {
    let class = match row.kind {
        Kind::Raw => "raw",
        Kind::Floor => "floor",
        Kind::Bellwire => "bellwire",
        Kind::Peer => "peer",
    };
    let room = (WIDTH - NAMES - VALUES) as f64;
    let length = (value / scale).clamp(0.0, 1.0) * room;
    let bar = Rectangle::new().set("x", NAMES).set("y", top).set("width", length.max(1.0)).set("height", BAR);
    let base = top + BAR - 2;
    let mut group = Group::new()
        .add(text(&row.name, NAMES - 8, base, &format!("end {class}")))
        .add(bar.set("class", class))
        .add(text(label, NAMES + length as usize + 6, base, class));
    if value > scale {
        // It goes on: a gap near its end says so.
        group = group.add(text("»", NAMES + length as usize - 14, base, "title"));
    }
    group
}

fn text(content: &str, x: usize, y: usize, class: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("class", class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Figures;

    fn row(name: &str, kind: Kind, cpu: f64) -> Row {
        let figures = Figures { cpu: Some(cpu), ..Figures::default() };
        Row { name: name.to_owned(), kind, rounds: vec![figures], failure: None }
    }

    #[test]
    fn bars_are_sorted_and_in_proportion() {
        let mut failed = row("none", Kind::Peer, 1.0);
        failed.rounds.clear();
        let rows = vec![row("slow", Kind::Peer, 4.0), row("<fast>", Kind::Bellwire, 2.0), failed];
        let picture = draw(&Results { title: "A & B", pace: None, rows }).to_string();
        assert!(picture.contains("A &amp; B") && picture.contains("&lt;fast&gt;"), "{picture}");
        assert!(picture.find("&lt;fast").unwrap() < picture.find("slow").unwrap());
        assert!(!picture.contains("none"), "what was not measured is not drawn as zero");
        let widths: Vec<f64> = picture
            .split("<rect")
            .skip(2)
            .map(|bar| bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert_eq!(widths[1], 2.0 * widths[0]);
    }

    #[test]
    fn a_bar_out_of_all_proportion_is_cut_and_says_so() {
        let rows = vec![row("bellwire", Kind::Bellwire, 1.0), row("far", Kind::Peer, 100.0)];
        let picture = draw(&Results { title: "T", pace: None, rows }).to_string();
        assert!(picture.contains('»') && picture.contains("100.00"));
        let rows = vec![row("bellwire", Kind::Bellwire, 1.0), row("near", Kind::Peer, 20.0)];
        assert!(!draw(&Results { title: "T", pace: None, rows }).to_string().contains('»'));
    }
}
