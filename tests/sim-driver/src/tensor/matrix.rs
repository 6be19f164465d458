//! `ldmatrix` and `stmatrix` of 8 x 8 matrices of 16-bit elements.

/// Place of a 16-bit element in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Half {
    /// The lane whose address is that of the element's row of 16 bytes.
    pub(crate) lane: usize,
    /// Distance in bytes of the element from that address.
    pub(crate) offset: usize,
}

/// An `ldmatrix` or `stmatrix` (`.m8n8`, `.b16`): both have the same places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatrixMove {
    /// Number of matrices, which is that of registers of a lane: 1, 2 or 4.
    pub(crate) count: usize,
    /// Whether each matrix is transposed on its way.
    pub(crate) transposed: bool,
    /// Whether the address is given as one of `.shared`, rather than generic.
    pub(crate) shared: bool,
}

impl MatrixMove {
    /// The move of the modifiers after `ldmatrix` or `stmatrix`, such as
    /// `sync`, `aligned`, `m8n8`, `x4`, `trans`, `shared`, `b16`.
    #[must_use]
    pub(crate) fn parse(modifiers: &[&str]) -> Option<Self> {
        let mut rest = modifiers.strip_prefix(&["sync", "aligned", "m8n8"])?;
        let (&count, after) = rest.split_first()?;
        let count = match count {
            "x1" => 1,
            "x2" => 2,
            "x4" => 4,
            _ => return None,
        };
        rest = after;
        let mut take = |names: &[&str]| match rest.split_first() {
            Some((first, after)) if names.contains(first) => {
                rest = after;
                true
            }
            _ => false,
        };
        let transposed = take(&["trans"]);
        let shared = take(&["shared", "shared::cta"]);
        (rest == ["b16"]).then_some(Self { count, transposed, shared })
    }

    /// Number of lanes, from lane 0, whose addresses are used: row `r` of
    /// matrix `j` lies at the address of lane `8 j + r`.
    #[must_use]
    pub(crate) const fn address_lanes(&self) -> usize {
        8 * self.count
    }

    /// Places of the low and the high 16 bits of a register of a lane.
    ///
    /// Not transposed, both are neighbours: one aligned access of 4 bytes at
    /// the first place does for the whole register.
    #[must_use]
    pub(crate) const fn halves(&self, lane: usize, register: usize) -> [Half; 2] {
        let (group, first) = (lane / 4, lane % 4 * 2);
        let base = 8 * register;
        if self.transposed {
            let offset = 2 * group;
            [Half { lane: base + first, offset }, Half { lane: base + first + 1, offset }]
        } else {
            let lane = base + group;
            [Half { lane, offset: 2 * first }, Half { lane, offset: 2 * first + 2 }]
        }
    }
}
