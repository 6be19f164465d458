use std::fmt::{self, Display};

use super::check;
use crate::Result;

/// Which axis the frequencies of a wedge lie around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WedgeKind {
    /// `|wr| <= |wc|`; the slope is `-wr/wc`.
    Columns,
    /// `|wc| <= |wr|`; the slope is `wc/wr`.
    Rows,
}

/// The frequencies that one direction of a tree is for: a double wedge at the origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wedge {
    /// Which axis it lies around.
    pub kind: WedgeKind,
    /// Least slope.
    pub from: f64,
    /// Greatest slope.
    pub to: f64,
}

/// The wedge of direction `direction` (from 1) of a tree of depth `n`.
///
/// Directions 1 … 2^(n-1) have the slopes `-wr/wc` in equal steps from -1 to 1; directions 2^(n-1)+1 … 2^n have `wc/wr`
/// in equal steps from 1 down to -1. Planes follow this order at every depth in
/// [`Geometry::Wedge`](crate::Geometry::Wedge), and up to depth 3 in [`Geometry::Toolbox`](crate::Geometry::Toolbox).
///
/// # Errors
/// When there is no such direction.
pub fn wedge(direction: usize, n: u8) -> Result<Wedge> {
    check("direction", direction, n, |n| 1 << n)?;
    let half = 1_usize << (n - 1);
    let slope = |i: usize| 2.0 * i as f64 / half as f64 - 1.0;
    Ok(if direction <= half {
        Wedge { kind: WedgeKind::Columns, from: slope(direction - 1), to: slope(direction) }
    } else {
        let i = direction - half;
        Wedge { kind: WedgeKind::Rows, from: -slope(i), to: -slope(i - 1) }
    })
}

impl Wedge {
    /// Whether the frequency `(wr, wc)` lies in the wedge or on its border. The origin lies in none.
    pub fn contains(&self, wr: f64, wc: f64) -> bool {
        let slope = match self.kind {
            WedgeKind::Columns => -wr / wc,
            WedgeKind::Rows => wc / wr,
        };
        self.from <= slope && slope <= self.to
    }

    /// The middle of the wedge as a direction of frequencies, in degrees from 0 to 180: 0 points along a row, 90 along
    /// a column, and it turns anticlockwise as seen on a screen. Edges in the image run at right angles to it.
    pub fn degrees(&self) -> f64 {
        let slope = f64::midpoint(self.from, self.to);
        let (up, right) = match self.kind {
            WedgeKind::Columns => (slope, 1.0),
            WedgeKind::Rows => (1.0, -slope),
        };
        up.atan2(right).to_degrees().rem_euclid(180.0)
    }
}

impl Display for Wedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.0}°", self.degrees()))
    }
}
