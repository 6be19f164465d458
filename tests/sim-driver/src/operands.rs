//! The registers that an instruction reads and writes.

use crate::program::{Convert, Kind, Op, Slot};

/// What a visitor is told about a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Use,
    Def,
}

impl Op {
    /// Shows every register to `see`: those that are read, then those that are written.
    pub(crate) fn visit(&mut self, see: &mut dyn FnMut(Kind, &mut Slot, Role)) {
        use Kind::{B32, B64, Predicate};
        use Role::{Def, Use};
        match self {
            Self::Nop
            | Self::CommitCopies
            | Self::WaitCopies(_)
            | Self::Branch(_)
            | Self::Exit
            | Self::CommitBulk
            | Self::WaitBulk { .. }
            | Self::ProxyFence
            | Self::Trap(_)
            | Self::Fence(_) => {}
            Self::Un32(_, d, a) => {
                see(B32, a, Use);
                see(B32, d, Def);
            }
            Self::Bin32(_, d, a, b) => {
                see(B32, a, Use);
                see(B32, b, Use);
                see(B32, d, Def);
            }
            Self::Tri32(_, d, a, b, c) | Self::Lop3(_, d, a, b, c) => {
                for x in [a, b, c] {
                    see(B32, x, Use);
                }
                see(B32, d, Def);
            }
            Self::Un64(_, d, a) => {
                see(B64, a, Use);
                see(B64, d, Def);
            }
            Self::Bin64(_, d, a, b) => {
                see(B64, a, Use);
                see(B64, b, Use);
                see(B64, d, Def);
            }
            Self::Tri64(_, d, a, b, c) => {
                for x in [a, b, c] {
                    see(B64, x, Use);
                }
                see(B64, d, Def);
            }
            Self::Shift64(_, d, a, b) => {
                see(B64, a, Use);
                see(B32, b, Use);
                see(B64, d, Def);
            }
            Self::MulWide(_, d, a, b) | Self::Join(d, a, b) => {
                see(B32, a, Use);
                see(B32, b, Use);
                see(B64, d, Def);
            }
            Self::MadWide(_, d, a, b, c) => {
                see(B32, a, Use);
                see(B32, b, Use);
                see(B64, c, Use);
                see(B64, d, Def);
            }
            Self::Convert(how, d, a) => {
                let (to, from) = match how {
                    Convert::Zero | Convert::Sign | Convert::F32ToF64 => (B64, B32),
                    Convert::Low | Convert::High | Convert::F64ToF32 => (B32, B64),
                };
                see(from, a, Use);
                see(to, d, Def);
            }
            Self::Compare32(_, d, a, b) => {
                see(B32, a, Use);
                see(B32, b, Use);
                see(Predicate, d, Def);
            }
            Self::Compare64(_, d, a, b) => {
                see(B64, a, Use);
                see(B64, b, Use);
                see(Predicate, d, Def);
            }
            Self::Select32(d, a, b, p) => {
                see(B32, a, Use);
                see(B32, b, Use);
                see(Predicate, p, Use);
                see(B32, d, Def);
            }
            Self::Select64(d, a, b, p) => {
                see(B64, a, Use);
                see(B64, b, Use);
                see(Predicate, p, Use);
                see(B64, d, Def);
            }
            Self::Logic(_, d, a, b) => {
                see(Predicate, a, Use);
                see(Predicate, b, Use);
                see(Predicate, d, Def);
            }
            Self::NotP(d, a) | Self::MovP(d, a) => {
                see(Predicate, a, Use);
                see(Predicate, d, Def);
            }
            Self::Scalar { to, from, .. } => {
                for place in from {
                    see(place.kind, &mut place.slot, Use);
                }
                see(to.kind, &mut to.slot, Def);
            }
            Self::Special(_, to) | Self::Parameter { to, .. } => see(to.kind, &mut to.slot, Def),
            Self::Load { access, to, .. } => {
                see(access.address.kind, &mut access.address.slot, Use);
                for place in to.iter_mut().take(access.count as usize) {
                    see(place.kind, &mut place.slot, Def);
                }
            }
            Self::Store { access, from } => {
                see(access.address.kind, &mut access.address.slot, Use);
                for place in from.iter_mut().take(access.count as usize) {
                    see(place.kind, &mut place.slot, Use);
                }
            }
            Self::Atomic { access, to, operand, other, .. } => {
                see(access.address.kind, &mut access.address.slot, Use);
                see(operand.kind, &mut operand.slot, Use);
                if let Some(other) = other {
                    see(other.kind, &mut other.slot, Use);
                }
                if let Some(to) = to {
                    see(to.kind, &mut to.slot, Def);
                }
            }
            Self::CopyAsync { to, from, read, .. } => {
                see(to.kind, &mut to.slot, Use);
                see(from.kind, &mut from.slot, Use);
                if let Some(read) = read {
                    see(B32, read, Use);
                }
            }
            Self::Mbarrier(step) => {
                see(step.access.address.kind, &mut step.access.address.slot, Use);
                see(B32, &mut step.operand, Use);
                let waits = step.to.is_some();
                if let Some(state) = &mut step.state {
                    see(B64, state, if waits { Use } else { Def });
                }
                if let Some(to) = &mut step.to {
                    see(Predicate, to, Def);
                }
            }
            Self::Bulk(step) => {
                for (place, _) in [&mut step.inside, &mut step.outside].into_iter().chain(&mut step.barrier) {
                    see(place.kind, &mut place.slot, Use);
                }
                see(B32, &mut step.size, Use);
            }
            Self::BranchIndex(index, _) => see(B32, index, Use),
            Self::Barrier { id, threads, to, from, .. } => {
                see(B32, id, Use);
                if let Some(threads) = threads {
                    see(B32, threads, Use);
                }
                if let Some(to) = to {
                    see(Predicate, from, Use);
                    see(to.kind, &mut to.slot, Def);
                }
            }
            Self::SyncWarp(mask) => see(B32, mask, Use),
            Self::Shuffle { to, within, from, b, c, mask, .. } => {
                for x in [from, b, c].into_iter().chain(mask) {
                    see(B32, x, Use);
                }
                see(B32, to, Def);
                if let Some(within) = within {
                    see(Predicate, within, Def);
                }
            }
            Self::Vote { to, from, mask, .. } => {
                see(Predicate, from, Use);
                if let Some(mask) = mask {
                    see(B32, mask, Use);
                }
                see(to.kind, &mut to.slot, Def);
            }
            Self::Match { to, within, from, mask, .. } => {
                see(from.kind, &mut from.slot, Use);
                see(B32, mask, Use);
                see(B32, to, Def);
                if let Some(within) = within {
                    see(Predicate, within, Def);
                }
            }
            Self::Reduce { to, from, mask, .. } => {
                see(B32, from, Use);
                see(B32, mask, Use);
                see(B32, to, Def);
            }
            Self::ActiveMask(to) => see(B32, to, Def),
            Self::Elect { to, within, mask } => {
                see(B32, mask, Use);
                see(B32, to, Def);
                see(Predicate, within, Def);
            }
            Self::Mma { d, a, b, c, .. } => {
                for place in a.iter_mut().chain(b).chain(c) {
                    see(place.kind, &mut place.slot, Use);
                }
                for place in d {
                    see(place.kind, &mut place.slot, Def);
                }
            }
            Self::Fragment { access, stride, store, registers, .. } => {
                see(access.address.kind, &mut access.address.slot, Use);
                see(B32, stride, Use);
                for place in registers {
                    see(place.kind, &mut place.slot, if *store { Use } else { Def });
                }
            }
            Self::Transpose { to, from } => {
                see(B32, from, Use);
                see(B32, to, Def);
            }
            Self::MoveMatrix { access, store, registers, .. } => {
                see(access.address.kind, &mut access.address.slot, Use);
                for place in registers {
                    see(place.kind, &mut place.slot, if *store { Use } else { Def });
                }
            }
        }
    }
}
