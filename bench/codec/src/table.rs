//! What is printed.

use crate::library::Task;

/// From here on a message is large: what counts is bytes per second.
const LARGE: usize = 16 * 1024;

pub struct Cell {
    pub nanoseconds: f64,
    pub instructions: Option<f64>,
}

pub struct Row {
    pub task: Task,
    pub length: usize,
    /// Nanoseconds to copy as many bytes.
    pub copy: f64,
    pub cells: Vec<Option<Cell>>,
}

pub fn print_head(names: impl Iterator<Item = &'static str>) {
    let mut rule = format!("|{:-<36}|", "");
    print!("| {:<34} |", "");
    for name in names {
        print!(" {name:>24} |");
        rule.push_str(&format!("{:->25}:|", ""));
    }
    println!("\n{rule}");
}

impl Row {
    pub fn print(&self) {
        print!("| {:<34} |", self.task.to_string());
        for cell in &self.cells {
            let shown = cell.as_ref().map_or("-".to_owned(), |cell| self.shown(cell));
            print!(" {shown:>24} |");
        }
        println!();
    }

    /// Nanoseconds and instructions; of a large message, bytes per second beside those of memcpy.
    fn shown(&self, cell: &Cell) -> String {
        let ratio = self.copy / cell.nanoseconds;
        // What is so much faster than a copy does not touch the payload at all.
        let time = if self.length >= LARGE && ratio < 2.0 {
            format!("{:.1} GB/s, {ratio:.2}", self.length as f64 / cell.nanoseconds)
        } else {
            format!("{:.1} ns", cell.nanoseconds)
        };
        match cell.instructions {
            Some(instructions) => format!("{time} ({instructions:.0})"),
            None => time,
        }
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
