//! Tables in Markdown.

/// Returns columns as lines, each with its name on top.
pub fn aligned(columns: &[Vec<String>]) -> String {
    let width = |column: &Vec<String>| column.iter().map(|cell| cell.chars().count()).max().unwrap_or_default().max(3);
    let widths: Vec<_> = columns.iter().map(width).collect();
    let mut text = String::new();
    for at in 0..columns[0].len() {
        for (column, (cells, width)) in columns.iter().zip(&widths).enumerate() {
            let cell = &cells[at];
            text += &if column == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") };
        }
        text += "|\n";
        if at == 0 {
            text += &format!("|{}|", "-".repeat(widths[0] + 2));
            text.extend(widths[1..].iter().map(|width| format!("{}:|", "-".repeat(width + 1))));
            text += "\n";
        }
    }
    text
}

/// With so many digits behind the point, and a comma after each three before it.
pub fn number(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let text = format!("{:.digits$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        assert_eq!(number(Some(1_234_567.0), 0), "1,234,567");
        assert_eq!(number(Some(999.994), 2), "999.99");
        assert_eq!(number(Some(-1000.5), 1), "-1,000.5");
        assert_eq!(number(Some(0.0), 0), "0");
        assert_eq!(number(None, 2), "–");
    }
}
