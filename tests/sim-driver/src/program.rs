//! The compact form that kernels are executed in: one instruction for the 32 lanes of a warp.

use std::sync::Arc;

use crate::order::Scope;
use crate::ptx::Space;
use crate::{bulk, mbarrier, tensor};

/// The registers of 32 lanes, by the width that they are kept in. Narrower ones live zero-extended in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    B32,
    B64,
    Predicate,
}

/// Number of a register among those of its kind; with [`CONSTANT`] set, number of a constant.
pub(crate) type Slot = u32;
pub(crate) const CONSTANT: Slot = 1 << 31;

/// A register with its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Un32 {
    Mov,
    Not,
    Neg,
    Abs,
    NegF,
    AbsF,
    SqrtF,
    FromS32,
    FromU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bin32 {
    Add,
    Sub,
    MulLo,
    MulHiU,
    MulHiS,
    MinU,
    MaxU,
    MinS,
    MaxS,
    And,
    Or,
    Xor,
    Shl,
    ShrU,
    ShrS,
    DivU,
    RemU,
    DivS,
    RemS,
    AddF,
    SubF,
    MulF,
    DivF,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tri32 {
    MadLo,
    FmaF,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Un64 {
    Mov,
    Not,
    Neg,
    Abs,
    NegF,
    AbsF,
    SqrtF,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bin64 {
    Add,
    Sub,
    MulLo,
    MinU,
    MaxU,
    MinS,
    MaxS,
    And,
    Or,
    Xor,
    DivU,
    RemU,
    DivS,
    RemS,
    AddF,
    SubF,
    MulF,
    DivF,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tri64 {
    MadLo,
    FmaF,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Left,
    Right,
    RightSigned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convert {
    /// 32 to 64 bits.
    Zero,
    Sign,
    /// 64 to 32 bits.
    Low,
    High,
    F32ToF64,
    F64ToF32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Eq,
    Ne,
    LtU,
    LeU,
    LtS,
    LeS,
    EqF,
    NeF,
    LtF,
    LeF,
    /// True when one is not a number.
    EquF,
    NeuF,
    LtuF,
    LeuF,
    NumF,
    NanF,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// How strong an access is, which decides whether it can be part of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    Plain,
    /// `volatile` and `relaxed`: two of them do not race.
    Relaxed,
    Acquire,
    Release,
    Both,
}

impl Strength {
    pub(crate) fn is_atomic(self) -> bool {
        self != Self::Plain
    }
    pub(crate) fn acquires(self) -> bool {
        matches!(self, Self::Acquire | Self::Both)
    }
    pub(crate) fn releases(self) -> bool {
        matches!(self, Self::Release | Self::Both)
    }
}

/// What memory instructions have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Access {
    pub(crate) space: Space,
    /// Bytes of one element: 1, 2, 4 or 8.
    pub(crate) size: u8,
    /// Elements of a vector.
    pub(crate) count: u8,
    pub(crate) address: Place,
    pub(crate) offset: i64,
    pub(crate) strength: Strength,
    pub(crate) scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    Lane,
    Warp,
    Warps,
    Processor,
    Processors,
    Grid,
    LaneMask(Compare),
    LaneMaskGe,
    LaneMaskGt,
    Clock,
    Time,
    DynamicShared,
    TotalShared,
    Constant(u32),
    /// Half of the address of a cooperative launch's workspace, by the amount that it is shifted.
    Workspace(u8),
    ClockHigh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Atomic {
    Add,
    AddF32,
    AddF64,
    AddF16x2,
    AddF16,
    AddBf16x2,
    AddBf16,
    MinU,
    MinS,
    MaxU,
    MaxS,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
    Increment,
    Decrement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduce {
    Add,
    MinU,
    MinS,
    MaxU,
    MaxS,
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    Sync,
    Arrive,
    /// Counts the lanes whose predicate holds.
    Count,
    And,
    Or,
}

/// In the place of a barrier's number: the cluster's.
pub(crate) const CLUSTER: u32 = u32::MAX;

/// A function of the bits of up to five operands, for everything that is not worth an instruction of its own.
pub(crate) type Scalar = Arc<dyn Fn(&[u64; 5]) -> u64 + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Op {
    Nop,
    Un32(Un32, Slot, Slot),
    Bin32(Bin32, Slot, Slot, Slot),
    Tri32(Tri32, Slot, Slot, Slot, Slot),
    Un64(Un64, Slot, Slot),
    Bin64(Bin64, Slot, Slot, Slot),
    Tri64(Tri64, Slot, Slot, Slot, Slot),
    Shift64(Shift, Slot, Slot, Slot),
    /// 32 times 32 to 64 bits; whether signed.
    MulWide(bool, Slot, Slot, Slot),
    MadWide(bool, Slot, Slot, Slot, Slot),
    Convert(Convert, Slot, Slot),
    /// 64 bits of two halves, low first.
    Join(Slot, Slot, Slot),
    Compare32(Compare, Slot, Slot, Slot),
    Compare64(Compare, Slot, Slot, Slot),
    Select32(Slot, Slot, Slot, Slot),
    Select64(Slot, Slot, Slot, Slot),
    Logic(Logic, Slot, Slot, Slot),
    NotP(Slot, Slot),
    MovP(Slot, Slot),
    Lop3(u8, Slot, Slot, Slot, Slot),
    Scalar {
        f: Scalar,
        to: Place,
        from: Vec<Place>,
    },
    Special(Special, Place),
    /// Parameters at a known place: the same for all lanes.
    Parameter {
        to: Place,
        offset: u32,
        size: u8,
        signed: bool,
    },
    Load {
        access: Access,
        signed: bool,
        to: [Place; 4],
    },
    Store {
        access: Access,
        from: [Place; 4],
    },
    Atomic {
        access: Access,
        op: Atomic,
        to: Option<Place>,
        operand: Place,
        other: Option<Place>,
    },
    CopyAsync {
        to: Place,
        to_offset: i64,
        from: Place,
        from_offset: i64,
        size: u8,
        read: Option<Slot>,
    },
    CommitCopies,
    /// Waits until at most this many groups are under way; all when `None`.
    WaitCopies(Option<u32>),
    Branch(u32),
    BranchIndex(Slot, Arc<[u32]>),
    Exit,
    Trap(&'static str),
    Barrier {
        kind: Barrier,
        aligned: bool,
        id: Slot,
        threads: Option<Slot>,
        to: Option<Place>,
        from: Slot,
        negated: bool,
    },
    SyncWarp(Slot),
    Shuffle {
        how: Shuffle,
        to: Slot,
        within: Option<Slot>,
        from: Slot,
        b: Slot,
        c: Slot,
        mask: Option<Slot>,
    },
    Vote {
        how: Vote,
        to: Place,
        from: Slot,
        negated: bool,
        mask: Option<Slot>,
    },
    Match {
        all: bool,
        to: Slot,
        within: Option<Slot>,
        from: Place,
        mask: Slot,
    },
    Reduce {
        how: Reduce,
        to: Slot,
        from: Slot,
        mask: Slot,
    },
    ActiveMask(Slot),
    Elect {
        to: Slot,
        within: Slot,
        mask: Slot,
    },
    Fence(Scope),
    Mma {
        mma: tensor::Mma,
        d: Vec<Place>,
        a: Vec<Place>,
        b: Vec<Place>,
        c: Vec<Place>,
    },
    /// A fragment of a matrix from or to memory; the stride in elements.
    Fragment {
        memory: tensor::WmmaMemory,
        access: Access,
        stride: Slot,
        store: bool,
        registers: Vec<Place>,
    },
    Mbarrier(Box<mbarrier::Step>),
    Bulk(Box<bulk::Step>),
    CommitBulk,
    /// Waits until at most so many groups of bulk copies are under way, or have yet to read.
    WaitBulk {
        left: u32,
        read: bool,
    },
    /// `fence.proxy.async`.
    ProxyFence,
    /// Of a matrix of 8 x 8 halves, two neighbours of a row in each lane.
    Transpose {
        to: Slot,
        from: Slot,
    },
    MoveMatrix {
        moves: tensor::MatrixMove,
        access: Access,
        store: bool,
        registers: Vec<Place>,
    },
}

/// A predicate that decides which lanes take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) slot: Slot,
    pub(crate) negated: bool,
}

#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) guard: Option<Guard>,
    /// Line of the PTX text.
    pub(crate) line: u32,
    /// As in [`crate::ptx::Instruction::source`].
    pub(crate) source: u32,
}

/// A kernel, ready to run.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    /// Registers of each kind: 32 bits, 64 bits, predicates.
    pub(crate) registers: [u32; 3],
    pub(crate) constants32: Vec<[u32; 32]>,
    pub(crate) constants64: Vec<[u64; 32]>,
    /// Offset and bytes of each parameter.
    pub(crate) parameters: Vec<(u32, u32)>,
    pub(crate) parameter_bytes: u32,
    /// Declared shared memory; what a launch adds begins at `shared_end`.
    pub(crate) shared: u32,
    pub(crate) shared_end: u32,
    /// Bytes of a thread's own memory.
    pub(crate) local: u32,
    pub(crate) most_threads: u32,
    /// Bytes of the smallest access to shared and to global memory (at most 4), which races are looked for in.
    pub(crate) shared_granule: u8,
    pub(crate) global_granule: u8,
    /// Whether more than whole barriers can order its accesses, or decide what a race is.
    pub(crate) exact: bool,
    /// `.loc` lines, and the text of each PTX line, for reports.
    pub(crate) sources: Vec<crate::ptx::Source>,
    pub(crate) files: Vec<(u32, String)>,
    pub(crate) text: Arc<Vec<String>>,
}
