//! Slow scalar programs straight from the meaning of the functions. They share no code with the library.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]

use std::collections::BTreeMap;

/// A grid row by row.
pub type Rows = Vec<Vec<i32>>;

/// Sets of cells `(colour, row, column)`.
pub type Objects = Vec<Vec<(i32, i32, i32)>>;

/// Components as sets of cells `(colour, row, column)`, each sorted, all sorted: the canonical order.
pub fn objects(rows: &Rows, univalued: bool, diagonal: bool, bare: bool) -> Result<Objects, u32> {
    let background = most(rows, true);
    if bare && background.is_none() {
        return Err(2);
    }
    if rows.is_empty() {
        return Err(3);
    }
    // Every cell's number spreads to its neighbours until nothing changes.
    let mut number: BTreeMap<(i32, i32), (usize, i32)> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        for (j, &c) in row.iter().enumerate() {
            if !(bare && Some(c) == background) {
                number.insert((i as i32, j as i32), (number.len(), c));
            }
        }
    }
    loop {
        let before = number.clone();
        for (&(i, j), &(_, c)) in &before {
            for (di, dj) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)] {
                if di != 0 && dj != 0 && !diagonal {
                    continue;
                }
                let Some(&(other, oc)) = number.get(&(i + di, j + dj)) else { continue };
                if univalued && oc != c {
                    continue;
                }
                let own = number.get_mut(&(i, j)).unwrap();
                own.0 = own.0.min(other);
            }
        }
        if before == number {
            break;
        }
    }
    let mut all: BTreeMap<usize, Vec<(i32, i32, i32)>> = BTreeMap::new();
    for ((i, j), (n, c)) in number {
        all.entry(n).or_default().push((c, i, j));
    }
    let mut all: Vec<_> = all.into_values().collect();
    for object in &mut all {
        object.sort_unstable();
    }
    all.sort();
    Ok(all)
}

/// How often each colour occurs.
pub fn counts(rows: &Rows) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    rows.iter().flatten().for_each(|&c| *counts.entry(c).or_default() += 1);
    counts
}

/// The most, or least, frequent colour, the lowest of several.
pub fn most(rows: &Rows, most: bool) -> Option<i32> {
    let mut best: Option<(usize, i32)> = None;
    for (c, n) in counts(rows) {
        if best.is_none_or(|(m, _)| if most { n > m } else { n < m }) {
            best = Some((n, c));
        }
    }
    best.map(|(_, c)| c)
}

/// A grid turned by a number of 0 to 7, as products of a mirror and quarter turns.
pub fn turned(rows: &Rows, isometry: u8) -> Rows {
    fn quarter(rows: &Rows) -> Rows {
        let (h, w) = (rows.len(), rows.first().map_or(0, Vec::len));
        (0..w).map(|i| (0..h).map(|j| rows[h - 1 - j][i]).collect()).collect()
    }
    fn mirror(rows: &Rows) -> Rows {
        rows.iter().map(|row| row.iter().rev().copied().collect()).collect()
    }
    let quarters = |mut rows: Rows, n: u32| {
        for _ in 0..n {
            rows = quarter(&rows);
        }
        rows
    };
    match isometry {
        0 => rows.clone(),
        1 => mirror(rows),
        2 => rows.iter().rev().cloned().collect(),
        3 => rows.iter().rev().map(|row| row.iter().rev().copied().collect()).collect(),
        4 => mirror(&quarter(rows)),
        5 => quarters(rows.clone(), 3),
        6 => quarter(rows),
        _ => quarters(mirror(rows), 1),
    }
}

/// FNV-1a of the canonical text.
pub fn digest(rows: &Rows) -> u64 {
    let short = !rows.is_empty() && rows.iter().all(|row| !row.is_empty() && row.iter().all(|c| (0..10).contains(c)));
    let text = if short {
        let rows: Vec<String> = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        format!("{{\"g\":\"{}\"}}", rows.join("/"))
    } else {
        let row = |row: &Vec<i32>| {
            let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
            format!("{{\"t\":[{}]}}", cells.join(","))
        };
        format!("{{\"t\":[{}]}}", rows.iter().map(row).collect::<Vec<_>>().join(","))
    };
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
