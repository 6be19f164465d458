//! Where evaluations took place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::exec::{OpcodeProfile, Profile};
use crate::kernels::{Spill, Tally};

/// Where evaluations of nodes took place.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Evaluations with at least one operand that is a grid, a patch or another container but a pair, on a device.
    pub on_device: u64,
    /// The same, on the host.
    pub on_host: u64,
    /// For each reason how many evaluations took place on the host, whatever their operands.
    pub spills: BTreeMap<Spill, u64>,
    /// For each function evaluations of the first two kinds, on a device and on the host.
    pub functions: BTreeMap<&'static str, [u64; 2]>,
    /// For each function and reason how many evaluations took place on the host, whatever their operands.
    pub reasons: BTreeMap<(&'static str, Spill), u64>,
    /// Programs and samples that the host ran from the start, while devices ran others: some function of theirs is none
    /// of a device, it often was in vain, or no device had taken the sample yet.
    pub programs_on_host: u64,
    /// Programs and samples that the host ran after a device: a value of theirs has no form there.
    pub redone: u64,
    /// Why samples ran on the host altogether: too few of them, or what a device failed with.
    pub failures: Vec<String>,
    /// Seconds of devices at work, their copies to and from the host included, all devices together.
    pub device_seconds: f64,
    /// Seconds of the host at work for them, with the copies that it takes.
    pub host_seconds: f64,
    /// What each queue did, in their order.
    pub queues: Vec<Share>,
    /// What calls took, wherever they took place: see [`Profile::opcodes`].
    pub opcodes: BTreeMap<&'static str, OpcodeProfile>,
    /// What levels took, of the graph as it runs on a device: see [`Profile::levels`].
    pub levels: BTreeMap<u32, f64>,
    /// When samples were done, and how many then.
    pub(super) finished: Vec<(Instant, u64)>,
}

/// What one queue did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Evaluations with at least one operand that is a container.
    pub calls: u64,
    /// Seconds at work, copies to and from the host included.
    pub seconds: f64,
}

/// Evaluations of one function.
#[derive(Debug, Default)]
pub(super) struct Counted {
    counting: [u64; 2],
    spills: [u64; Spill::ALL.len()],
}

impl Counted {
    pub(super) fn tallied(of: &Tally) -> Self {
        Self { counting: of.counting.map(u64::from), spills: of.spills.map(u64::from) }
    }

    /// One evaluation: whether it has an operand that counts, and why the host did it.
    pub(super) fn add(&mut self, counts: bool, spill: Option<Spill>) {
        self.counting[usize::from(spill.is_some())] += u64::from(counts);
        if let Some(why) = spill {
            self.spills[why as usize - 1] += 1;
        }
    }
}

impl Coverage {
    /// The part of evaluations that a device did; 0 without any.
    pub fn fraction(&self) -> f64 {
        let all = self.on_device + self.on_host;
        if all == 0 { 0.0 } else { self.on_device as f64 / all as f64 }
    }

    /// What took place and why, without how long it took and what failed: equal wherever the same is run.
    pub fn counts(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        (self.on_device, self.on_host, self.spills.clone(), self.functions.clone(), self.reasons.clone())
    }

    pub(super) fn count(&mut self, name: &'static str, counted: &Counted) {
        for (why, &n) in Spill::ALL.into_iter().zip(&counted.spills).filter(|(_, n)| **n > 0) {
            *self.spills.entry(why).or_default() += n;
            *self.reasons.entry((name, why)).or_default() += n;
        }
        let [device, host] = counted.counting;
        if device + host > 0 {
            let own = self.functions.entry(name).or_default();
            *own = [own[0] + device, own[1] + host];
        }
        self.on_device += device;
        self.on_host += host;
    }

    /// Leaves out what the host did: who runs whole programs again counts that.
    pub(super) fn forget_host(&mut self) {
        self.on_host = 0;
        self.functions.values_mut().for_each(|[_, host]| *host = 0);
    }

    /// A part of a level that took so long: each function gets its part by the number of evaluations.
    pub(super) fn took(&mut self, level: u32, time: Duration, calls: &[(&'static str, u64)]) {
        *self.levels.entry(level).or_default() += time.as_secs_f64();
        let all: u64 = calls.iter().map(|(_, n)| n).sum();
        for &(name, n) in calls {
            self.opcodes.entry(name).or_default().seconds += time.as_secs_f64() * n as f64 / all.max(1) as f64;
        }
    }

    /// What is counted here was done by one queue.
    pub(super) fn of_queue(&mut self, queue: usize) {
        self.queues = vec![Share::default(); queue + 1];
        self.queues[queue] = Share { calls: self.on_device, seconds: self.device_seconds };
    }

    /// Adds what calls on the CPU took.
    pub(super) fn add_times(&mut self, opcodes: &BTreeMap<&'static str, OpcodeProfile>, levels: &BTreeMap<u32, f64>) {
        for (name, theirs) in opcodes {
            let own = self.opcodes.entry(name).or_default();
            own.calls += theirs.calls;
            own.errors += theirs.errors;
            own.seconds += theirs.seconds;
            own.generic += theirs.generic;
            own.containers += theirs.containers;
        }
        for (level, seconds) in levels {
            *self.levels.entry(*level).or_default() += seconds;
        }
    }

    /// Adds what the CPU did of graphs.
    pub(super) fn add_host(&mut self, profile: &Profile) {
        self.add_times(&profile.opcodes, &profile.levels);
        for (name, opcode) in profile.opcodes.iter().filter(|(_, opcode)| opcode.containers > 0) {
            self.functions.entry(name).or_default()[1] += opcode.containers;
            self.on_host += opcode.containers;
        }
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        self.on_device += other.on_device;
        self.on_host += other.on_host;
        for (why, n) in &other.spills {
            *self.spills.entry(*why).or_default() += n;
        }
        for (which, n) in &other.reasons {
            *self.reasons.entry(*which).or_default() += n;
        }
        for (name, [device, host]) in &other.functions {
            let own = self.functions.entry(name).or_default();
            *own = [own[0] + device, own[1] + host];
        }
        self.programs_on_host += other.programs_on_host;
        self.redone += other.redone;
        self.failures.extend(other.failures.iter().cloned());
        self.device_seconds += other.device_seconds;
        self.host_seconds += other.host_seconds;
        if self.queues.len() < other.queues.len() {
            self.queues.resize(other.queues.len(), Share::default());
        }
        for (own, theirs) in self.queues.iter_mut().zip(&other.queues) {
            (own.calls, own.seconds) = (own.calls + theirs.calls, own.seconds + theirs.seconds);
        }
        self.add_times(&other.opcodes, &other.levels);
        self.finished.extend_from_slice(&other.finished);
    }
}
