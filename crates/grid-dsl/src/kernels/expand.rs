//! Operations of searches on states, the grids of a task's examples: which give the goals, and a key of each other result.
//!
//! [`expand`] applies every operation to the grids of every state, one example after the other until there is no image;
//! [`expand_last`] stops at the first image that is not the goal. [`pack`] writes the images themselves, of those pairs of
//! state and operation that are gone on from. Keys are those of [`search`](crate::search) on the host, bit for bit.
//!
//! Floor: a warp reads a grid of `n` cells, `2 + n` bytes, once for up to 32 operations, in about 20 instructions a row, and
//! takes for each operation some 40 instructions to find where its rows and columns come from, and 30 for every 32 cells;
//! with keys 90 more for every 32 cells. An image that has other sides than the goal costs no cell. Components
//! take some 25 instructions for each step of a flood over rows, once for all operations on those of a kind. A search of an ARC
//! task to depth 3 takes 155 instructions of a warp an application at the last depth, as the simulated device counts them, and a
//! few bytes of memory, so that instructions bound: 132 units that issue 4 a clock at 1.7 GHz do 5,800,000,000 such
//! applications a second. Measured on an H200: 3,200,000,000 at the last depth, 56 % of this bound, and
//! 66 % of the rate at which it starts instructions; with keys 800,000,000 at 65 %.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rayon::prelude::*;
use rustacuda_derive::DeviceCopy;

use crate::search::{Action, Images, Operation, SIDE, Small, images, key, packed, unpack};

/// Operations of a warp, at most: one a bit.
pub const TOGETHER: u32 = 32;

/// What the kernels get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct ExpandParams {
    /// States.
    pub states: u32,
    /// Operations.
    pub operations: u32,
    /// Grids of a state.
    pub examples: u32,
    /// Operations of a warp.
    pub each: u32,
}

impl ExpandParams {
    /// Warps of a state.
    fn parts(&self) -> usize {
        self.operations.div_ceil(self.each) as usize
    }
}

/// Operations and goals of a search, in the memory of a device.
#[derive(Debug)]
pub struct Expander<B: Backend> {
    operations: Tensor<B, u32, 1>,
    goals: Tensor<B, u8, 1>,
    examples: usize,
}

impl<B: Backend> Expander<B> {
    /// Copies operations and goals to a device.
    ///
    /// # Errors
    /// When there are none of one or the other, or the device has no room.
    pub fn new(b: &B, operations: &[Operation], goals: &[Small]) -> Result<Self> {
        if operations.is_empty() || goals.is_empty() {
            let why =
                format!("{} operations and {} goals, at least one of each is needed", operations.len(), goals.len());
            return Err(Error::value("operations", why));
        }
        let codes: Vec<u32> = operations.iter().map(|operation| operation.action().code()).collect();
        let cells = packed(goals);
        Ok(Self {
            operations: Tensor::from_slice(b, [codes.len()], &codes)?,
            goals: Tensor::from_slice(b, [cells.len()], &cells)?,
            examples: goals.len(),
        })
    }

    /// Operations.
    pub fn operations(&self) -> usize {
        self.operations.len()
    }

    fn params(&self, states: &StateBatch<B>, each: u32) -> Result<ExpandParams> {
        if states.examples != self.examples {
            let why = format!("{} grids each, and there are {} goals", states.examples, self.examples);
            return Err(Error::value("states", why));
        }
        if !(1..=TOGETHER).contains(&each) {
            return Err(Error::value("each", format!("{each} operations of a warp; 1 to {TOGETHER} are possible")));
        }
        let pairs = states.len() as u64 * self.operations() as u64;
        if pairs > u64::from(u32::MAX) {
            let why = format!("{pairs} pairs of state and operation are more than one call takes; split them");
            return Err(Error::value("states", why));
        }
        Ok(ExpandParams {
            states: states.len() as u32,
            operations: self.operations() as u32,
            examples: self.examples as u32,
            each,
        })
    }

    fn input<'a>(&'a self, states: &'a StateBatch<B>) -> ExpandInput<'a, B> {
        ExpandInput {
            operations: self.operations.flat(),
            begins: states.begins.flat(),
            grids: states.grids.flat(),
            goals: self.goals.flat(),
        }
    }
}

/// States in the memory of a device: packed grids.
#[derive(Debug)]
pub struct StateBatch<B: Backend> {
    begins: Tensor<B, u32, 1>,
    grids: Tensor<B, u8, 1>,
    examples: usize,
}

impl<B: Backend> StateBatch<B> {
    /// Copies states to a device, each a grid an example.
    ///
    /// # Errors
    /// When states differ in their number of grids, take more than 4 GiB, or the device has no room.
    pub fn new(b: &B, states: &[Vec<Small>]) -> Result<Self> {
        let examples = states.first().map_or(0, Vec::len);
        if let Some(n) = states.iter().position(|state| state.len() != examples) {
            let why = format!("number {n} has {} grids, the first one {examples}", states[n].len());
            return Err(Error::value("states", why));
        }
        let (mut bytes, mut begins) = (Vec::new(), Vec::with_capacity(states.len()));
        for state in states {
            begins.push(bytes.len());
            bytes.extend(packed(state));
        }
        Self::of_packed(b, examples, &begins, &bytes)
    }

    /// States that are packed already, and where each begins.
    pub(crate) fn of_packed(b: &B, examples: usize, begins: &[usize], bytes: &[u8]) -> Result<Self> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Error::value(
                "states",
                format!("{} bytes are more than one batch takes; split them", bytes.len()),
            ));
        }
        let begins: Vec<u32> = begins.iter().map(|&begin| begin as u32).collect();
        Ok(Self {
            begins: Tensor::from_slice(b, [begins.len()], &begins)?,
            grids: Tensor::from_slice(b, [bytes.len()], bytes)?,
            examples,
        })
    }

    /// States.
    pub fn len(&self) -> usize {
        self.begins.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What comes of every state and operation.
#[derive(Debug)]
pub struct Expanded<B: Backend> {
    /// Keys, `[states, operations, 2]`, the upper half first; 0 without one.
    pub keys: Tensor<B, u64, 3>,
    /// Bytes that [`pack`] writes, `[states, operations]`; 0 where there is no image, or all are goals.
    pub sizes: Tensor<B, u32, 2>,
    /// `[states, parts, 2]` for each warp: applications to grids, and the operations that give all goals, as bits.
    pub tallies: Tensor<B, u32, 3>,
}

/// What operations read.
#[doc(hidden)]
#[derive(Debug)]
pub struct ExpandInput<'a, B: Backend> {
    pub operations: View<'a, B, u32>,
    pub begins: View<'a, B, u32>,
    pub grids: View<'a, B, u8>,
    pub goals: View<'a, B, u8>,
}

/// The operations on one backend.
pub trait Expand: Backend {
    #[doc(hidden)]
    fn expand_unchecked(
        &self,
        p: ExpandParams,
        from: ExpandInput<'_, Self>,
        keys: ViewMut<'_, Self, u64>,
        sizes: ViewMut<'_, Self, u32>,
        tallies: ViewMut<'_, Self, u32>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn expand_last_unchecked(
        &self,
        p: ExpandParams,
        from: ExpandInput<'_, Self>,
        tallies: ViewMut<'_, Self, u32>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn pack_unchecked(
        &self,
        from: ExpandInput<'_, Self>,
        wanted: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u8>,
        count: u32,
        examples: u32,
    ) -> Result<()>;
}

/// Applies all operations to all states, `each` operations a warp.
///
/// # Errors
/// When states have another number of grids than there are goals, `each` is not in 1 to [`TOGETHER`], there are more than
/// 2^32 pairs, or the device fails.
pub fn expand<B: Expand>(b: &B, by: &Expander<B>, states: &StateBatch<B>, each: u32) -> Result<Expanded<B>> {
    let p = by.params(states, each)?;
    let mut out = Expanded {
        keys: Tensor::scratch(b, [states.len(), by.operations(), 2])?,
        sizes: Tensor::scratch(b, [states.len(), by.operations()])?,
        tallies: Tensor::scratch(b, [states.len(), p.parts(), 2])?,
    };
    if !states.is_empty() {
        let (keys, sizes) = (out.keys.flat_mut(), out.sizes.flat_mut());
        b.expand_unchecked(p, by.input(states), keys, sizes, out.tallies.flat_mut())?;
    }
    Ok(out)
}

/// As [`expand`], but an image that is not the goal ends its operation on that state: nothing but `tallies`.
///
/// # Errors
/// As [`expand`].
pub fn expand_last<B: Expand>(b: &B, by: &Expander<B>, states: &StateBatch<B>, each: u32) -> Result<Tensor<B, u32, 3>> {
    let p = by.params(states, each)?;
    let mut tallies = Tensor::scratch(b, [states.len(), p.parts(), 2])?;
    if !states.is_empty() {
        b.expand_last_unchecked(p, by.input(states), tallies.flat_mut())?;
    }
    Ok(tallies)
}

/// A state, an operation on it, and the bytes that [`expand`] said their images take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The state's number.
    pub state: u32,
    /// The operation's number.
    pub operation: u32,
    /// Bytes of all images together.
    pub size: u32,
}

/// The images of states under operations, one behind the other: height, width and cells of each grid. Images that need more
/// bytes than they were given are left out, and those bytes are 0.
///
/// # Errors
/// When there is no such state or operation, all images together take more than 4 GiB, or the device fails.
pub fn pack<B: Expand>(b: &B, by: &Expander<B>, states: &StateBatch<B>, wanted: &[Wanted]) -> Result<Tensor<B, u8, 1>> {
    by.params(states, 1)?;
    let mut words = Vec::with_capacity(4 * wanted.len());
    let mut end = 0u32;
    for (n, one) in wanted.iter().enumerate() {
        if one.state as usize >= states.len() || one.operation as usize >= by.operations() {
            let (of, all) = (one.operation, (states.len(), by.operations()));
            let why = format!("number {n} is operation {of} on state {}, there are {} and {}", one.state, all.1, all.0);
            return Err(Error::value("wanted", why));
        }
        words.extend([one.state, one.operation, end, one.size]);
        end = end.checked_add(one.size).ok_or_else(|| {
            Error::value("wanted", format!("the first {} images take more than 4 GiB; split them", n + 1))
        })?;
    }
    let mut out = Tensor::zeros(b, [end as usize])?;
    if end > 0 {
        let list = Tensor::from_slice(b, [wanted.len(), 4], &words)?;
        let (count, examples) = (wanted.len() as u32, by.examples as u32);
        b.pack_unchecked(by.input(states), list.flat(), out.flat_mut(), count, examples)?;
    }
    Ok(out)
}

/// What the processor's twins read of an input.
struct Lists<'a> {
    actions: Vec<Option<Action>>,
    begins: &'a [u32],
    grids: &'a [u8],
}

impl<'a> Lists<'a> {
    fn of(b: &'a Cpu, from: &ExpandInput<'a, Cpu>) -> Result<Self> {
        let actions = b.read(from.operations)?.iter().map(|&code| Action::of_code(code)).collect();
        Ok(Self { actions, begins: b.read(from.begins)?, grids: b.read(from.grids)? })
    }

    fn state(&self, at: usize, grids: &mut [Small]) {
        unpack(&self.grids[self.begins[at] as usize..], grids);
    }
}

fn room(grids: usize) -> (Vec<Small>, Vec<Small>) {
    (vec![Small::default(); grids], vec![Small::default(); grids])
}

/// Every state and operation in turn; `found` is told the state, the operation and what came of them.
fn tallied<T: Send>(
    b: &Cpu,
    p: ExpandParams,
    from: &ExpandInput<'_, Cpu>,
    tallies: &mut [u32],
    outs: Vec<T>,
    last: bool,
    found: impl Fn(&mut T, usize, &Images, &[Small]) + Sync,
) -> Result<()> {
    let lists = Lists::of(b, from)?;
    let mut goals = vec![Small::default(); p.examples as usize];
    unpack(b.read(from.goals)?, &mut goals);
    let states = tallies.par_chunks_exact_mut(2 * p.parts()).zip(outs).enumerate();
    states.for_each_init(
        || room(goals.len()),
        |(grids, images_of), (at, (tallies, mut out))| {
            lists.state(at, grids);
            tallies.fill(0);
            for (op, action) in lists.actions.iter().enumerate() {
                let Some(action) = action else { continue };
                let (applications, images) = images(*action, grids, images_of, &goals, last);
                let tally = &mut tallies[op / p.each as usize * 2..][..2];
                tally[0] += applications;
                tally[1] |= u32::from(images == Images::Goals) << (op % p.each as usize);
                found(&mut out, op, &images, images_of);
            }
        },
    );
    Ok(())
}

impl Expand for Cpu {
    fn expand_unchecked(
        &self,
        p: ExpandParams,
        from: ExpandInput<'_, Self>,
        keys: ViewMut<'_, Self, u64>,
        sizes: ViewMut<'_, Self, u32>,
        tallies: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let (keys, sizes, tallies) = (self.write(keys)?, self.write(sizes)?, self.write(tallies)?);
        let operations = p.operations as usize;
        let outs = keys.chunks_exact_mut(2 * operations).zip(sizes.chunks_exact_mut(operations)).collect();
        tallied(self, p, &from, tallies, outs, false, |(keys, sizes), op, found, grids| {
            let is_new = *found == Images::Others;
            let key = if is_new { key(grids) } else { 0 };
            keys[2 * op] = (key >> 64) as u64;
            keys[2 * op + 1] = key as u64;
            sizes[op] = if is_new { grids.iter().map(|grid| 2 + grid.cells().len() as u32).sum() } else { 0 };
        })
    }

    fn expand_last_unchecked(
        &self,
        p: ExpandParams,
        from: ExpandInput<'_, Self>,
        tallies: ViewMut<'_, Self, u32>,
    ) -> Result<()> {
        let tallies = self.write(tallies)?;
        tallied(self, p, &from, tallies, vec![(); p.states as usize], true, |(), _, _, _| {})
    }

    fn pack_unchecked(
        &self,
        from: ExpandInput<'_, Self>,
        wanted: View<'_, Self, u32>,
        out: ViewMut<'_, Self, u8>,
        _: u32,
        examples: u32,
    ) -> Result<()> {
        let lists = Lists::of(self, &from)?;
        let (wanted, mut out) = (self.read(wanted)?, self.write(out)?);
        let mut parts = Vec::with_capacity(wanted.len() / 4);
        for words in wanted.chunks_exact(4) {
            let (part, rest) = out.split_at_mut(words[3] as usize);
            parts.push((words, part));
            out = rest;
        }
        parts.into_par_iter().for_each_init(
            || room(examples as usize),
            |(grids, _), (words, mut part)| {
                lists.state(words[0] as usize, grids);
                let mut image = Small::default();
                for grid in grids {
                    let made = lists.actions[words[1] as usize].and_then(|action| action.apply(grid, &mut image));
                    let n = 2 + image.cells().len();
                    if made.is_none() || n > part.len() {
                        break;
                    }
                    let (own, rest) = part.split_at_mut(n);
                    own.copy_from_slice(&packed(std::slice::from_ref(&image)));
                    part = rest;
                }
            },
        );
        Ok(())
    }
}

/// Bytes that a packed grid takes, at most.
pub(crate) const MOST_BYTES: usize = 2 + SIDE * SIDE;

#[cfg(feature = "cuda")]
mod on_cuda {
    use gpu_core::{Cuda, Result, View, ViewMut};

    use super::{Expand, ExpandInput, ExpandParams};
    use crate::kernels::cuda::KERNELS;

    /// Warps of a block. Twin of kExpandWarps.
    const WARPS: u32 = 4;

    /// Blocks of warps; kernels loop over what is beyond.
    fn warps(items: usize) -> (u32, u32, u32) {
        ((items.min(1 << 22) as u32).div_ceil(WARPS), 1, 1)
    }

    impl Expand for Cuda {
        fn expand_unchecked(
            &self,
            p: ExpandParams,
            from: ExpandInput<'_, Self>,
            keys: ViewMut<'_, Self, u64>,
            sizes: ViewMut<'_, Self, u32>,
            tallies: ViewMut<'_, Self, u32>,
        ) -> Result<()> {
            let kernel = self.kernel(&KERNELS, "grid_expand")?;
            let launch = kernel.read(from.operations)?.read(from.begins)?.read(from.grids)?.read(from.goals)?;
            let launch = launch.write(keys)?.write(sizes)?.write(tallies)?.arg(p);
            let launch = launch.grid(warps(p.states as usize * p.parts())).block((WARPS * 32, 1, 1));
            // SAFETY: void grid_expand(const uint* operations, const uint* begins, const uchar* grids, const uchar* goals,
            // u64* keys, uint* sizes, uint* tallies, ExpandParams p); `expand` has made room for all pairs, and states and
            // goals have as many packed grids as `p` says.
            unsafe { launch.launch() }
        }

        fn expand_last_unchecked(
            &self,
            p: ExpandParams,
            from: ExpandInput<'_, Self>,
            tallies: ViewMut<'_, Self, u32>,
        ) -> Result<()> {
            let kernel = self.kernel(&KERNELS, "grid_expand_last")?;
            let launch = kernel.read(from.operations)?.read(from.begins)?.read(from.grids)?.read(from.goals)?;
            let launch = launch.write(tallies)?.arg(p);
            let launch = launch.grid(warps(p.states as usize * p.parts())).block((WARPS * 32, 1, 1));
            // SAFETY: void grid_expand_last(const uint* operations, const uint* begins, const uchar* grids, const uchar*
            // goals, uint* tallies, ExpandParams p); as above.
            unsafe { launch.launch() }
        }

        fn pack_unchecked(
            &self,
            from: ExpandInput<'_, Self>,
            wanted: View<'_, Self, u32>,
            out: ViewMut<'_, Self, u8>,
            count: u32,
            examples: u32,
        ) -> Result<()> {
            let kernel = self.kernel(&KERNELS, "grid_expand_pack")?;
            let launch = kernel.read(from.operations)?.read(from.begins)?.read(from.grids)?;
            let launch = launch.read(wanted)?.write(out)?.arg(count).arg(examples);
            let launch = launch.grid(warps(count as usize)).block((WARPS * 32, 1, 1));
            // SAFETY: void grid_expand_pack(const uint* operations, const uint* begins, const uchar* grids, const uint*
            // wanted, uchar* out, uint count, uint examples); `pack` has checked that each state and operation is there,
            // and given each a part of `out` of its own, beyond which the kernel does not write.
            unsafe { launch.launch() }
        }
    }
}
