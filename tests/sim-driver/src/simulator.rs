//! Running a kernel from Rust, without the driver's functions: for tests of kernels, and of this crate.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use crate::fault::{FaultKind, Report};
use crate::launch::{Checks, Launch, MOST_BLOCKS, Memories, check_shape, no_lists};
use crate::order::Shelf;
use crate::region::Region;
use crate::variables;

/// Processors of the device: a cooperative launch has as many blocks as fit on them.
const PROCESSORS: u32 = 8;
/// Bytes of shared memory that a block may have.
const MOST_SHARED: u64 = 227 << 10;
/// Instructions of one launch: an endless loop is told after less than half a minute.
const FUEL: u64 = 50_000_000;

/// Where device memory begins.
const FIRST_ADDRESS: u64 = 0x2000_0000_0000;

/// Where the next allocation begins; `None` beyond all addresses.
fn after(start: u64, len: u64) -> Option<u64> {
    start.checked_add(len)?.checked_next_multiple_of(512)?.checked_add(4096)
}

/// Shape of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block in each direction.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Whether all blocks are under way at once, so that they may wait for each other.
    pub cooperative: bool,
}

/// One argument of a kernel.
#[derive(Clone, Debug)]
pub enum Argument {
    /// The address of a buffer that holds these bytes, and gets what the kernel writes.
    Buffer(Vec<u8>),
    /// The address of as many bytes that nobody has written. A launch without a fault makes it [`Argument::Output`].
    Unwritten(usize),
    /// The address of a buffer of which some bytes have been written. As the argument of another launch it stays so:
    /// that may read what is written, and add to it.
    Output {
        /// All bytes; what those hold that nobody has written says nothing.
        bytes: Vec<u8>,
        /// For each byte, whether it has been written.
        written: Vec<bool>,
    },
    /// The address of as many bytes that have been freed.
    Freed(usize),
    /// A value, as its bytes.
    Value(Vec<u8>),
}

impl Argument {
    /// The bytes of a buffer or value, if all of them have been written.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Buffer(bytes) | Self::Value(bytes) => Some(bytes),
            Self::Output { bytes, .. } if self.first_unwritten().is_none() => Some(bytes),
            Self::Output { .. } | Self::Unwritten(_) | Self::Freed(_) => None,
        }
    }

    /// The first byte of a buffer that nobody has written.
    pub fn first_unwritten(&self) -> Option<usize> {
        match self {
            Self::Output { written, .. } => written.iter().position(|written| !written),
            Self::Unwritten(len) => (*len > 0).then_some(0),
            Self::Buffer(_) | Self::Value(_) | Self::Freed(_) => None,
        }
    }

    /// Bytes of the buffer that it is the address of.
    fn buffer(&self) -> Option<u64> {
        match self {
            Self::Buffer(bytes) | Self::Output { bytes, .. } => Some(bytes.len() as u64),
            Self::Unwritten(len) | Self::Freed(len) => Some(*len as u64),
            Self::Value(_) => None,
        }
    }

    /// Puts into memory what a launch begins with.
    fn store(&self, region: &Region) {
        match self {
            Self::Buffer(bytes) => region.put(0, bytes),
            Self::Output { bytes, written } => {
                let known = bytes.iter().zip(written).enumerate().filter(|(_, (_, written))| **written);
                known.for_each(|(i, (byte, _))| region.put(i as u64, &[*byte]));
            }
            Self::Unwritten(_) | Self::Freed(_) | Self::Value(_) => {}
        }
    }

    /// Takes out of memory what a launch has left; `None` when the host has no room for it.
    fn load(&mut self, region: &Region) -> Option<()> {
        if let Self::Unwritten(len) = *self {
            let (mut bytes, mut written) = (Vec::new(), Vec::new());
            bytes.try_reserve_exact(len).ok()?;
            written.try_reserve_exact(len).ok()?;
            bytes.resize(len, 0);
            *self = Self::Output { bytes, written };
        }
        match self {
            Self::Buffer(bytes) => region.get(0, bytes),
            Self::Output { bytes, written } => {
                region.get(0, bytes);
                written.resize(bytes.len(), false);
                written.iter_mut().enumerate().for_each(|(i, written)| *written = region.is_written(i as u64, 1));
            }
            Self::Unwritten(_) | Self::Freed(_) | Self::Value(_) => {}
        }
        Some(())
    }
}

/// What a launch is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Instructions before the launch counts as endless. One that a warp executes for its 32 lanes counts once, a wait
    /// at a barrier 16 times, and one in vain at an mbarrier 1000 times.
    pub fuel: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { fuel: FUEL }
    }
}

/// Why a kernel did not run to its end.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Sort of the fault. What the kernel did: `out of bounds`, `use after free`, `misaligned address`, `read of
    /// memory that nobody wrote`, `race`, `divergent barrier`, `lanes missing at a warp's instruction`,
    /// `misuse of an mbarrier`, `trap`, `assertion failed`, `too many instructions`. What cannot be run: `syntax` and
    /// `unsupported` for the text, `arguments` for arguments or a shape that the kernel does not take, `memory` and
    /// `out of memory` for want of it.
    pub kind: String,
    /// Line of the PTX text.
    pub line: u32,
    /// The block, where one is to blame.
    pub block: Option<[u32; 3]>,
    /// The thread, where one is to blame.
    pub thread: Option<[u32; 3]>,
    /// All of it in words.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    fn text(kind: &str, line: u32, message: String) -> Self {
        Self { kind: kind.to_owned(), line, block: None, thread: None, message }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self {
            kind: report.kind.name().to_owned(),
            line: report.line,
            block: Some(report.block),
            thread: report.thread,
            message: report.to_string(),
        }
    }
}

/// Runs one kernel of a PTX text with all checks on. Buffers hold afterwards what the kernel wrote. Variables of the
/// environment change nothing here.
///
/// ```
/// use sim_driver::{Argument, Shape, launch};
/// let ptx = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry double_it(.param .u64 x) {\n\
///     .reg .b64 %rd<4>; .reg .b32 %r<4>;\n ld.param.u64 %rd1, [x];\n mov.u32 %r1, %tid.x;\n\
///     mul.wide.u32 %rd2, %r1, 4;\n add.s64 %rd3, %rd1, %rd2;\n ld.global.u32 %r2, [%rd3];\n\
///     shl.b32 %r3, %r2, 1;\n st.global.u32 [%rd3], %r3;\n ret;\n}";
/// let shape = Shape { grid: [1; 3], block: [2, 1, 1], shared: 0, cooperative: false };
/// let mut arguments = [Argument::Buffer([3u32, 4].iter().flat_map(|v| v.to_le_bytes()).collect())];
/// launch(ptx, "double_it", shape, &mut arguments)?;
/// assert!(matches!(&arguments[0], Argument::Buffer(bytes) if bytes[0] == 6 && bytes[4] == 8));
/// # Ok::<(), sim_driver::Failure>(())
/// ```
///
/// # Errors
/// What the kernel did wrong, or why the text cannot be run.
pub fn launch(ptx: &str, entry: &str, shape: Shape, arguments: &mut [Argument]) -> Result<(), Failure> {
    launch_with(ptx, entry, shape, arguments, Options::default())
}

/// As [`launch`], with other limits.
///
/// # Errors
/// As [`launch`].
pub fn launch_with(
    ptx: &str,
    entry: &str,
    shape: Shape,
    arguments: &mut [Argument],
    options: Options,
) -> Result<(), Failure> {
    let module = crate::parse::module(ptx).map_err(|e| {
        let kind = if e.is_unsupported() { FaultKind::Unsupported.name() } else { "syntax" };
        Failure::text(kind, e.line, e.to_string())
    })?;
    let mut next = FIRST_ADDRESS;
    let (mut live, mut freed) = (Vec::new(), Vec::new());
    let mut allocate = |next: &mut u64, len: u64, what: String| -> Result<Arc<Region>, Failure> {
        let none = || Failure::text("memory", 0, format!("no memory for {len} bytes"));
        let region = Arc::new(Region::new(*next, len, 0, what).ok_or_else(none)?);
        *next = after(*next, len).ok_or_else(none)?;
        live.push(Arc::clone(&region));
        Ok(region)
    };
    let mut addresses = HashMap::new();
    let mut variables = Vec::new();
    for variable in variables::of(&module) {
        addresses.insert(variable.name.clone(), next);
        let what = format!("the variable {}", variable.name);
        variables.push((variable, allocate(&mut next, variable.size.max(1) as u64, what)?));
    }
    for (variable, region) in variables {
        variables::fill(&module, variable, &addresses, &region, 0).map_err(|why| Failure::text("syntax", 0, why))?;
    }
    let text = Arc::new(ptx.lines().map(str::to_owned).collect());
    let program = crate::lower::entry(&module, entry, &addresses, &text)
        .map_err(|e| Failure::text(FaultKind::Unsupported.name(), e.line, format!("line {}: {}", e.line, e.why)))?;
    if program.parameters.len() != arguments.len() {
        let why = format!("{entry} takes {} arguments, not {}", program.parameters.len(), arguments.len());
        return Err(Failure::text("arguments", 0, why));
    }
    let resident = shape.cooperative.then_some(PROCESSORS);
    check_shape(&program, shape.grid, shape.block, resident, MOST_BLOCKS)
        .map_err(|(_, why)| Failure::text("arguments", 0, why))?;
    if u64::from(program.shared_end) + u64::from(shape.shared) > MOST_SHARED {
        let why = format!("{} and {} bytes of shared memory", program.shared_end, shape.shared);
        return Err(Failure::text("arguments", 0, why));
    }
    let mut buffers = Vec::new();
    let mut parameters = vec![0u8; program.parameter_bytes as usize];
    for (i, (argument, &(offset, size))) in arguments.iter().zip(&program.parameters).enumerate() {
        let bytes = match argument {
            Argument::Value(bytes) => bytes.clone(),
            _ => next.to_le_bytes().to_vec(),
        };
        if bytes.len() != size as usize {
            let why = format!("argument {i} of {entry} has {size} bytes, not {}", bytes.len());
            return Err(Failure::text("arguments", 0, why));
        }
        parameters[offset as usize..(offset + size) as usize].copy_from_slice(&bytes);
        let Some(len) = argument.buffer() else { continue };
        let what = format!("argument {i}");
        if matches!(argument, Argument::Freed(_)) {
            freed.push((next, len, what));
            next = after(next, len).ok_or_else(|| Failure::text("memory", 0, format!("no memory for {len} bytes")))?;
            continue;
        }
        let region = allocate(&mut next, len, what)?;
        argument.store(&region);
        buffers.push(region);
    }
    let mut memories = Memories { live: Arc::new(live), freed: Arc::new(freed) };
    if shape.cooperative {
        let none = || Failure::text("memory", 0, "no memory for the workspace of the grid".into());
        memories = memories.with_workspace(0).ok_or_else(none)?;
    }
    let launch = Launch {
        program: &program,
        grid: shape.grid,
        threads: shape.block,
        parameters: &parameters,
        dynamic_shared: shape.shared,
        memories,
        device: 0,
        first_block: 1,
        blocks: shape.grid.iter().map(|&n| u64::from(n)).product(),
        checks: Checks { race: true, unwritten: true },
        fuel: AtomicU64::new(options.fuel),
        shelf: Shelf::default(),
        lists: no_lists(),
        begin: Instant::now(),
        number: 1,
        cooperative: shape.cooperative,
        processors: PROCESSORS,
    };
    crate::grid::run(&launch).map_err(|report| Failure::from(*report))?;
    let changed = arguments.iter_mut().filter(|a| !matches!(a, Argument::Freed(_) | Argument::Value(_)));
    for (argument, region) in changed.zip(&buffers) {
        let why = || Failure::text("memory", 0, format!("no memory for {} bytes", region.len));
        argument.load(region).ok_or_else(why)?;
    }
    Ok(())
}
