//! `mbarrier`, bulk copies, and the fences that go with them.

use super::memory::PLAIN;
use super::{Lower, Result};
use crate::bulk;
use crate::mbarrier::{self, Action};
use crate::program::{Kind, Op, Place, Un32, Un64};
use crate::ptx::{Operand, Space, Type};

/// What all of them may say of order and place. A cluster has one block.
const PLACES: [&str; 4] = ["shared", "shared::cta", "shared::cluster", "b64"];
const ORDERS: [&str; 6] = ["release", "acquire", "relaxed", "cta", "cluster", "b64"];

impl Lower<'_> {
    pub(super) fn mbarrier(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let Some((&verb, rest)) = parts[1..].split_first() else { return Ok(false) };
        if verb == "pending_count" {
            let (["b64"], [to, state]) = (rest, operands) else { return Ok(false) };
            let (to, state) = (self.target(to, Kind::B32)?, self.value(state, Type::B64)?);
            self.scalar(to, &[state], |x| mbarrier::pending(x[0]));
            return Ok(true);
        }
        let has = |part: &str| rest.contains(&part);
        let own: &[&str] = match verb {
            "init" | "inval" => &[],
            "expect_tx" | "complete_tx" => &[],
            "arrive" | "arrive_drop" => &["expect_tx", "noComplete"],
            "test_wait" | "try_wait" => &["parity"],
            _ => return Ok(false),
        };
        let known = |part: &&str| own.contains(part) || PLACES.contains(part) || ORDERS.contains(part);
        if !rest.iter().all(known) || rest.last() != Some(&"b64") {
            return Ok(false);
        }
        let one = self.constant32(1);
        let (mut state, mut to) = (None, None);
        let (action, address, operand) = match (verb, operands) {
            ("init", [address, count]) => (Action::Init, address, self.value(count, Type::U32)?.slot),
            ("inval", [address]) => (Action::Invalidate, address, one),
            ("expect_tx", [address, bytes]) => (Action::Expect, address, self.value(bytes, Type::U32)?.slot),
            ("complete_tx", [address, bytes]) => (Action::Complete, address, self.value(bytes, Type::U32)?.slot),
            ("arrive" | "arrive_drop", operands) => {
                let operands = match operands.split_first() {
                    Some((result @ Operand::Name(_), operands)) => {
                        state = Some(self.target(result, Kind::B64)?.slot);
                        operands
                    }
                    _ => operands,
                };
                let (expect, last) = (has("expect_tx"), !has("noComplete"));
                let (address, count) = match operands {
                    [address] if !expect && last => (address, one),
                    [address, count] => (address, self.value(count, Type::U32)?.slot),
                    _ => return Ok(false),
                };
                (Action::Arrive { drop: verb == "arrive_drop", expect, last }, address, count)
            }
            ("test_wait" | "try_wait", [complete, address, phase, hint @ ..]) => {
                if hint.len() > usize::from(verb == "try_wait") {
                    return Ok(false);
                }
                to = Some(self.target(complete, Kind::Predicate)?.slot);
                let parity = has("parity");
                let operand = if parity {
                    self.value(phase, Type::U32)?.slot
                } else {
                    state = Some(self.value(phase, Type::B64)?.slot);
                    one
                };
                (Action::Wait { parity }, address, operand)
            }
            _ => return Ok(false),
        };
        self.push_mbarrier(action, address, operand, state, to, !has("relaxed"))
    }

    fn push_mbarrier(
        &mut self,
        action: Action,
        address: &Operand,
        operand: u32,
        state: Option<u32>,
        to: Option<u32>,
        orders: bool,
    ) -> Result<bool> {
        let access = self.access(Space::Shared, 8, 1, address, PLAIN)?;
        self.exact = true;
        self.push(Op::Mbarrier(Box::new(mbarrier::Step { action, access, operand, state, to, orders })));
        Ok(true)
    }

    /// `cp.async.mbarrier.arrive`.
    pub(super) fn arrive_after_copies(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let (["cp", "async", "mbarrier", "arrive", rest @ ..], [address]) = (parts, operands) else { return Ok(false) };
        if !rest.iter().all(|part| *part == "noinc" || PLACES.contains(part)) {
            return Ok(false);
        }
        let one = self.constant32(1);
        self.push_mbarrier(Action::AfterCopies { counted: rest.contains(&"noinc") }, address, one, None, None, true)
    }

    /// `cp.async.bulk`.
    pub(super) fn bulk(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        match parts[3..] {
            ["commit_group"] => {
                self.push(Op::CommitBulk);
                return Ok(operands.is_empty());
            }
            ["wait_group", ref read @ ..] if matches!(read, [] | ["read"]) => {
                let [Operand::Integer(left)] = operands else { return Ok(false) };
                self.push(Op::WaitBulk { left: *left as u32, read: !read.is_empty() });
                return Ok(true);
            }
            ["prefetch", "L2", "global", ref hint @ ..] if matches!(hint, [] | ["L2::cache_hint"]) => {
                self.push(Op::Nop);
                return Ok(true);
            }
            _ => {}
        }
        let (loads, rest) = match &parts[3..] {
            ["shared::cluster" | "shared::cta", "global", "mbarrier::complete_tx::bytes", rest @ ..] => (true, rest),
            ["global", "shared::cta", "bulk_group", rest @ ..] => (false, rest),
            _ => return Ok(false),
        };
        let operands = match (rest, operands.split_last()) {
            ([], _) => operands,
            (["L2::cache_hint"], Some((_, operands))) => operands,
            _ => return Ok(false),
        };
        let (to, from, size, barrier) = match (loads, operands) {
            (true, [to, from, size, barrier]) => (to, from, size, Some(barrier)),
            (false, [to, from, size]) => (to, from, size, None),
            _ => return Ok(false),
        };
        let place = |lower: &mut Self, space: Space, operand: &Operand| -> Result<(Place, i64)> {
            let access = lower.access(space, 8, 1, operand, PLAIN)?;
            Ok((access.address, access.offset))
        };
        let (inside, outside) = if loads { (to, from) } else { (from, to) };
        let inside = place(self, Space::Shared, inside)?;
        let outside = place(self, Space::Global, outside)?;
        let barrier = barrier.map(|barrier| place(self, Space::Shared, barrier)).transpose()?;
        let size = self.value(size, Type::U32)?.slot;
        self.exact = true;
        self.push(Op::Bulk(Box::new(bulk::Step { inside, outside, size, barrier })));
        Ok(true)
    }

    /// Fences between the ways in which memory is reached; whether it is one that is known.
    pub(super) fn proxy_fence(&mut self, parts: &[&str]) -> bool {
        match parts[1..] {
            ["proxy", "async"] | ["proxy", "async", "shared::cta" | "shared::cluster"] => {
                self.exact = true;
                self.push(Op::ProxyFence);
            }
            // Of these copies see all writes, and objects are seen with what orders their use.
            ["proxy", "async", "global"] | ["proxy", "alias"] | ["mbarrier_init", "release", "cluster"] => {
                self.push(Op::Nop);
            }
            _ => return false,
        }
        true
    }

    /// `mapa` and `getctarank`, in a cluster of one block.
    pub(super) fn cluster(&mut self, parts: &[&str], operands: &[Operand]) -> Result<bool> {
        let wide = match parts[1..] {
            ["u32"] | ["shared::cluster", "u32"] => false,
            ["u64"] | ["shared::cluster", "u64"] => true,
            _ => return Ok(false),
        };
        match (parts[0], operands) {
            ("mapa", [to, from, _]) if wide => {
                let (to, from) = (self.target(to, Kind::B64)?.slot, self.value(from, Type::U64)?.slot);
                self.push(Op::Un64(Un64::Mov, to, from));
            }
            ("mapa", [to, from, _]) => {
                let (to, from) = (self.target(to, Kind::B32)?.slot, self.value(from, Type::U32)?.slot);
                self.push(Op::Un32(Un32::Mov, to, from));
            }
            ("getctarank", [to, _]) => {
                let (to, none) = (self.target(to, Kind::B32)?.slot, self.constant32(0));
                self.push(Op::Un32(Un32::Mov, to, none));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
