//! Grids in the terminal, in the colours of the ARC.

use std::fmt::Write;

use crate::value::Value;

/// Red, green and blue of the colours 0 to 9, as the ARC's own page shows them.
pub const ARC: [[u8; 3]; 10] = [
    [0x00, 0x00, 0x00],
    [0x00, 0x74, 0xd9],
    [0xff, 0x41, 0x36],
    [0x2e, 0xcc, 0x40],
    [0xff, 0xdc, 0x00],
    [0xaa, 0xaa, 0xaa],
    [0xf0, 0x12, 0xbe],
    [0xff, 0x85, 0x1b],
    [0x7f, 0xdb, 0xff],
    [0x87, 0x0c, 0x25],
];

/// What lies outside of 0..9, below its number in black.
const OTHER: [u8; 3] = [0xff, 0xff, 0xff];

/// Lines that show a grid and how many columns they take, or `None` if the value is no grid.
///
/// With `colour` they carry 24-bit escape codes, else the digits themselves; other numbers are written out either way. A
/// cell takes two columns, or what the longest number and a space need.
pub fn grid(value: &Value, colour: bool) -> Option<(Vec<String>, usize)> {
    let rows = value.to_rows()?;
    let of = |cell: i32| usize::try_from(cell).ok().and_then(|cell| ARC.get(cell)).copied();
    let longest = rows.iter().flatten().map(|cell| cell.to_string().len()).max().unwrap_or(1);
    let columns = rows.first().map_or(0, Vec::len) * (longest + 1);
    let line = |row: Vec<i32>| {
        let mut line = String::new();
        for cell in row {
            // Writing to a string cannot fail.
            let _ = match (colour, of(cell)) {
                (true, Some([r, g, b])) => write!(line, "\x1b[48;2;{r};{g};{b}m{:1$}", "", longest + 1),
                (true, None) => {
                    let [r, g, b] = OTHER;
                    write!(line, "\x1b[48;2;{r};{g};{b}m\x1b[30m{cell:>longest$} ")
                }
                (false, _) => write!(line, "{cell:>longest$} "),
            };
        }
        line + if colour { "\x1b[0m" } else { "" }
    };
    Some((rows.into_iter().map(line).collect(), columns))
}

/// Blocks of lines side by side, each with a title above.
pub fn beside(blocks: &[(String, Vec<String>, usize)]) -> Vec<String> {
    let height = blocks.iter().map(|(_, lines, _)| lines.len()).max().unwrap_or(0);
    let row = |at: Option<usize>| {
        let mut out = String::new();
        for (title, lines, width) in blocks {
            let column = (*width).max(title.chars().count());
            match at {
                None => {
                    out.push_str(title);
                    out.push_str(&" ".repeat(column - title.chars().count()));
                }
                Some(at) => {
                    let line = lines.get(at);
                    out.push_str(line.map_or("", String::as_str));
                    out.push_str(&" ".repeat(column - if line.is_some() { *width } else { 0 }));
                }
            }
            out.push_str("   ");
        }
        out.trim_end_matches(' ').to_owned()
    };
    std::iter::once(None).chain((0..height).map(Some)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_colours() {
        let value = Value::grid([[1, 2], [3, 0]]);
        assert_eq!(grid(&value, false).unwrap(), (vec!["1 2 ".to_owned(), "3 0 ".to_owned()], 4));
        let (lines, columns) = grid(&value, true).unwrap();
        assert_eq!((lines[0].as_str(), columns), ("\x1b[48;2;0;116;217m  \x1b[48;2;255;65;54m  \x1b[0m", 4));
        let value = Value::grid([[1, -1], [12, 0]]);
        assert_eq!(grid(&value, false).unwrap(), (vec![" 1 -1 ".to_owned(), "12  0 ".to_owned()], 6));
        let (lines, columns) = grid(&value, true).unwrap();
        let white = "\x1b[48;2;255;255;255m\x1b[30m";
        assert_eq!((lines[0].clone(), columns), (format!("\x1b[48;2;0;116;217m   {white}-1 \x1b[0m"), 6));
        assert!(grid(&Value::Int(1), true).is_none());
        let blocks = [("in".to_owned(), vec!["1 2 ".to_owned()], 4), ("output".to_owned(), vec!["3 ".into(); 2], 2)];
        assert_eq!(beside(&blocks), ["in     output", "1 2    3", "       3"]);
    }
}
