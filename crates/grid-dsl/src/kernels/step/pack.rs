//! Payloads of an arena as one compact list: of each value the rows and columns that its head says it has.
//!
//! What the host reads of a run are mostly grids, and most grids have far fewer cells than there is room for: heads go there
//! first, and say which words of the payloads follow.
//!
//! Floor: what is copied of a value, in and out once, and 12 bytes for its place: for a grid `4 h ceil(w / 4)` bytes, 1,152
//! for objects. The copy to the host takes ten times longer. Measured on an H200: 58 % of the
//! rate of a copy.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::place::{Place, take_into};
use super::{Arena, Form, HEAD, PAYLOAD, Spill, decode_val, is_plain};
use crate::fast::Val;
use crate::kernels::SIDE;

/// Words of a row of a payload: cells of a row, or eight masks.
const ROW: usize = SIDE / 4;

/// The row of a payload at which masks begin.
const MASKS_AT: u32 = SIDE as u32;

/// Words of an item: the place, where in the list it begins, and its rows.
const ITEM: usize = 3;

/// What the kernel gets by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PackParams {
    /// Values.
    pub count: u32,
}

/// The operation on one backend.
pub trait Pack: Backend {
    #[doc(hidden)]
    fn pack_unchecked(
        &self,
        p: PackParams,
        items: View<'_, Self, u32>,
        payloads: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()>;
}

/// Rows of a payload that are copied.
#[derive(Clone, Copy)]
struct Rows {
    first: u32,
    count: u32,
    /// Words of each.
    words: u32,
}

impl Rows {
    /// What a head says.
    fn of(head: &[i32]) -> Self {
        let within = |n: i32| (n.max(0) as u32).min(SIDE as u32);
        let (first, count, words) = if is_plain(head) || head[0] == Form::Spilled as i32 {
            (0, 0, 0)
        } else if head[0] == Form::Grid as i32 {
            (0, within(head[1]), within(head[2]).div_ceil(4))
        } else if head[0] == Form::Indices as i32 {
            (MASKS_AT, (PAYLOAD / ROW) as u32 - MASKS_AT, ROW as u32)
        } else {
            (0, (PAYLOAD / ROW) as u32, ROW as u32)
        };
        Self { first, count, words }
    }

    fn len(self) -> usize {
        (self.count * self.words) as usize
    }

    fn word(self) -> u32 {
        self.first | self.count << 8 | self.words << 16
    }

    fn of_word(word: u32) -> Self {
        Self { first: word & 255, count: word >> 8 & 255, words: word >> 16 }
    }

    /// Which words of a payload these are.
    fn each(self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let of_row = move |row: u32| {
            let from = row as usize * ROW;
            from..from + self.words as usize
        };
        (self.first..self.first + self.count).map(of_row)
    }
}

/// Values that were brought from a device. Its memory may be used again.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    heads: Vec<i32>,
    words: Vec<u32>,
    /// Where in the words each value begins, and the end.
    begins: Vec<usize>,
}

impl Packed {
    /// Values.
    pub fn len(&self) -> usize {
        self.heads.len() / HEAD
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Words that were copied in place of whole payloads.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// The head and the payload of a value; what its head does not speak of is 0 there.
    pub fn value(&self, n: usize) -> (&[i32], [u32; PAYLOAD]) {
        let (head, mut payload) = (self.head(n), [0; PAYLOAD]);
        let mut words = &self.words[self.begins[n]..self.begins[n + 1]];
        for range in Rows::of(head).each() {
            let (row, others) = words.split_at(range.len());
            payload[range].copy_from_slice(row);
            words = others;
        }
        (head, payload)
    }

    /// A value on the host, or why it has none there.
    pub(crate) fn decode(&self, n: usize) -> std::result::Result<crate::error::Result<Val>, Spill> {
        if self.is_grid(n) {
            return Ok(Ok(self.grid(n)));
        }
        let (head, payload) = self.value(n);
        decode_val(head, &payload)
    }

    fn head(&self, n: usize) -> &[i32] {
        &self.heads[n * HEAD..][..HEAD]
    }

    /// Whether a value is a grid that has cells.
    pub(crate) fn is_grid(&self, n: usize) -> bool {
        let head = self.head(n);
        head[0] == Form::Grid as i32 && Rows::of(head).len() > 0
    }

    /// A value that is a grid. Most are small: a whole payload would be far more than what was copied.
    pub(crate) fn grid(&self, n: usize) -> Val {
        let (head, words) = (self.head(n), &self.words[self.begins[n]..self.begins[n + 1]]);
        let (rows, columns) = (Rows::of(head), head[2] as usize);
        let mut cells = Vec::with_capacity(rows.count as usize * columns);
        for row in words.chunks_exact(rows.words.max(1) as usize) {
            cells.extend(row.iter().flat_map(|word| word.to_le_bytes()).take(columns).map(|cell| cell as i8));
        }
        Val::grid(rows.count as usize, columns, cells)
    }

    /// Whether a value has a form on the host.
    pub(crate) fn has_form(&self, n: usize) -> bool {
        let form = self.head(n)[0];
        // What a function has captured may have none.
        form != Form::Spilled as i32 && (form != Form::Bound as i32 || self.decode(n).is_ok())
    }
}

/// Brings values at some places to the host.
///
/// # Errors
/// When there is no such place, or the device fails.
pub fn take_packed<B: Place + Pack>(b: &B, arena: &Arena<B>, places: &[u32], to: &mut Packed) -> Result<()> {
    take_into(b, arena, places, &mut to.heads, None)?;
    let (mut items, mut end) = (Vec::with_capacity(places.len() * ITEM), 0usize);
    to.begins.clear();
    to.begins.push(0);
    for (head, &place) in to.heads.chunks_exact(HEAD).zip(places) {
        let rows = Rows::of(head);
        if rows.len() > 0 {
            items.extend([place, end as u32, rows.word()]);
            end += rows.len();
        }
        to.begins.push(end);
    }
    if u32::try_from(end).is_err() {
        return Err(Error::value("places", format!("{} are more than one call takes", places.len())));
    }
    to.words.resize(end, 0);
    if end == 0 {
        return Ok(());
    }
    let p = PackParams { count: (items.len() / ITEM) as u32 };
    let items = Tensor::from_slice(b, [items.len()], &items)?;
    let mut words = Tensor::<B, u32, 1>::scratch(b, [end])?;
    b.pack_unchecked(p, items.flat(), arena.payloads.flat(), words.flat_mut())?;
    b.download(words.flat(), &mut to.words)
}

impl Pack for Cpu {
    fn pack_unchecked(
        &self,
        p: PackParams,
        items: View<'_, Self, u32>,
        payloads: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (items, payloads, out) = (self.read(items)?, self.read(payloads)?, self.write(out)?);
        for item in items.chunks_exact(ITEM).take(p.count as usize) {
            let (payload, mut to) = (&payloads[item[0] as usize * PAYLOAD..][..PAYLOAD], item[1] as usize);
            for range in Rows::of_word(item[2]).each() {
                out[to..to + range.len()].copy_from_slice(&payload[range.clone()]);
                to += range.len();
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Pack for gpu_core::Cuda {
    fn pack_unchecked(
        &self,
        p: PackParams,
        items: View<'_, Self, u32>,
        payloads: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_pack")?;
        let launch = kernel.read(items)?.read(payloads)?.write(out)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.count as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_pack(const uint* items, const uint* payloads, uint* out, PackParams p); `take_packed` has had
        // the places checked, rows lie inside of a payload, and there is room for all of them.
        unsafe { launch.launch() }
    }
}
