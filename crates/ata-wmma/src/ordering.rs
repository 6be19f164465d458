//! Orders of the unknowns that bring what interacts close to the diagonal.

use crate::blocks::BLOCK;
use crate::error::{AtaError, Result};

/// `order[i]` is the physical index at matrix index `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// Physical index of each matrix index.
    pub order: Vec<u32>,
    /// Matrix index of each physical index.
    pub inverse: Vec<u32>,
}

impl Ordering {
    /// From `order`, which must be a permutation of `0..n`.
    pub fn new(order: Vec<u32>) -> Result<Self> {
        let inverse = inverse(&order, order.len())?;
        Ok(Self { order, inverse })
    }
}

/// The inverse of a permutation of `0..n`.
pub fn inverse(order: &[u32], n: usize) -> Result<Vec<u32>> {
    if order.len() != n {
        return Err(AtaError::shape("order", [n], &[order.len()]));
    }
    let mut out = vec![u32::MAX; n];
    for (i, &p) in order.iter().enumerate() {
        match out.get_mut(p as usize) {
            Some(slot) if *slot == u32::MAX => *slot = i as u32,
            Some(_) => return Err(AtaError::value("order", format!("{p} comes twice, the second time at {i}"))),
            None => return Err(AtaError::value("order", format!("{p} at {i} is not below {n}"))),
        }
    }
    Ok(out)
}

/// Which unknowns interact: neighbours of each, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph(pub Vec<Vec<u32>>);

impl Graph {
    /// Windows of `side` pixels, by their top left corners `(top, left)`: those that overlap interact.
    pub fn of_windows(corners: &[[i32; 2]], side: usize) -> Self {
        let side = side.max(1) as i32;
        let cell = |[top, left]: [i32; 2]| (top.div_euclid(side), left.div_euclid(side));
        let mut cells: std::collections::HashMap<(i32, i32), Vec<u32>> = std::collections::HashMap::new();
        for (i, &corner) in corners.iter().enumerate() {
            cells.entry(cell(corner)).or_default().push(i as u32);
        }
        let near = |i: usize| {
            let (row, column) = cell(corners[i]);
            let around = (-1..=1).flat_map(|r| (-1..=1).map(move |c| (row + r, column + c)));
            let mut out: Vec<u32> = around
                .filter_map(|key| cells.get(&key))
                .flatten()
                .copied()
                .filter(|&j| {
                    let (a, b) = (corners[i], corners[j as usize]);
                    j as usize != i && (a[0] - b[0]).abs() < side && (a[1] - b[1]).abs() < side
                })
                .collect();
            out.sort_unstable();
            out
        };
        Self((0..corners.len()).map(near).collect())
    }

    /// Bandwidth and blocks on and above the diagonal that an order leads to.
    pub fn figures(&self, ordering: &Ordering) -> OrderFigures {
        let at = |i: u32| ordering.inverse[i as usize] as usize;
        let mut blocks: Vec<(usize, usize)> = (0..self.0.len()).map(|i| (i / BLOCK, i / BLOCK)).collect();
        let mut bandwidth = 0;
        for (i, near) in self.0.iter().enumerate() {
            for &j in near {
                let (a, b) = (at(i as u32), at(j));
                if a < b {
                    bandwidth = bandwidth.max(b - a);
                    blocks.push((a / BLOCK, b / BLOCK));
                }
            }
        }
        blocks.sort_unstable();
        blocks.dedup();
        let mut diagonals: Vec<usize> = blocks.iter().map(|(i, j)| j - i).collect();
        diagonals.sort_unstable();
        diagonals.dedup();
        let mut tiles: Vec<(usize, usize)> = blocks.iter().flat_map(|&(i, j)| [(i / 2, j), (j / 2, i)]).collect();
        let halves = 2 * blocks.len() - blocks.iter().filter(|(i, j)| i == j).count();
        tiles.sort_unstable();
        tiles.dedup();
        OrderFigures {
            bandwidth,
            diagonals: diagonals.len(),
            blocks: blocks.len(),
            tile_efficiency: if tiles.is_empty() { 1.0 } else { halves as f64 / (2 * tiles.len()) as f64 },
        }
    }
}

/// What an order leads to.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct OrderFigures {
    /// Largest distance of two that interact.
    pub bandwidth: usize,
    /// Block diagonals with a block.
    pub diagonals: usize,
    /// Blocks on and above the diagonal.
    pub blocks: usize,
    /// Share of the half tiles that hold a block.
    pub tile_efficiency: f64,
}

/// The order as it is.
pub fn identity(n: usize) -> Ordering {
    let order: Vec<u32> = (0..n as u32).collect();
    Ordering { inverse: order.clone(), order }
}

/// Strips of `width` along `axis` (0: x, 1: y), there and back in turns: even strips ascend by the other coordinate, odd
/// ones descend; ties go by index.
///
/// # Errors
/// When `width` is 0 or `axis` neither 0 nor 1.
pub fn snake(positions: &[[i32; 2]], width: usize, axis: usize) -> Result<Ordering> {
    if width == 0 || axis > 1 {
        return Err(AtaError::value("snake", format!("axis {axis}, width {width}; axes are 0 and 1, widths positive")));
    }
    let key = |&i: &u32| {
        let p = positions[i as usize];
        let strip = i64::from(p[axis]).div_euclid(width as i64);
        let other = i64::from(p[1 - axis]);
        (strip, if strip.rem_euclid(2) == 0 { other } else { -other }, i)
    };
    let mut order: Vec<u32> = (0..positions.len() as u32).collect();
    order.sort_by_key(key);
    Ordering::new(order)
}

/// The snake with the fewest blocks: axis 0 then 1, widths a quarter, a half, three quarters and all of the window.
pub fn best_snake(positions: &[[i32; 2]], graph: &Graph, window: usize) -> Result<(Ordering, usize, usize)> {
    let mut best: Option<(usize, Ordering, usize, usize)> = None;
    for axis in 0..2 {
        for quarter in 1..=4 {
            let width = (window * quarter / 4).max(1);
            let ordering = snake(positions, width, axis)?;
            let blocks = graph.figures(&ordering).blocks;
            if best.as_ref().is_none_or(|(fewest, ..)| blocks < *fewest) {
                best = Some((blocks, ordering, axis, width));
            }
        }
    }
    let (_, ordering, axis, width) = best.ok_or_else(|| AtaError::value("positions", "there are none"))?;
    Ok((ordering, axis, width))
}

/// Reverse Cuthill-McKee: breadth first from an outer vertex of each component, neighbours by degree, reversed.
pub fn rcm(graph: &Graph) -> Ordering {
    let n = graph.0.len();
    let degree = |v: u32| graph.0[v as usize].len();
    let mut seen = vec![false; n];
    let mut order: Vec<u32> = Vec::with_capacity(n);
    let mut seeds: Vec<u32> = (0..n as u32).collect();
    seeds.sort_by_key(|&v| (degree(v), v));
    for seed in seeds {
        if seen[seed as usize] {
            continue;
        }
        let mut start = seed;
        // The far end of a search is further out; some repetitions settle.
        for _ in 0..4 {
            let (last, _) = levels(graph, start);
            start = last.into_iter().min_by_key(|&v| (degree(v), v)).unwrap_or(start);
        }
        seen[start as usize] = true;
        let mut head = order.len();
        order.push(start);
        while head < order.len() {
            let mut next: Vec<u32> =
                graph.0[order[head] as usize].iter().copied().filter(|&v| !seen[v as usize]).collect();
            next.sort_by_key(|&v| (degree(v), v));
            for v in next {
                seen[v as usize] = true;
                order.push(v);
            }
            head += 1;
        }
    }
    order.reverse();
    let mut inverse = vec![0; n];
    order.iter().enumerate().for_each(|(i, &p)| inverse[p as usize] = i as u32);
    Ordering { order, inverse }
}

/// The last level of a breadth-first search, and how many there are.
fn levels(graph: &Graph, start: u32) -> (Vec<u32>, usize) {
    let mut seen = std::collections::HashSet::from([start]);
    let (mut level, mut count) = (vec![start], 1);
    loop {
        let next: Vec<u32> =
            level.iter().flat_map(|&v| &graph.0[v as usize]).copied().filter(|&v| seen.insert(v)).collect();
        if next.is_empty() {
            return (level, count);
        }
        level = next;
        count += 1;
    }
}
