//! Where evaluations took place.

use std::collections::BTreeMap;

use crate::exec::Profile;
use crate::kernels::Spill;

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
    /// of a device.
    pub programs_on_host: u64,
    /// Programs and samples that the host ran after a device: a value of theirs has no form there.
    pub redone: u64,
    /// Why samples ran on the host altogether: too few of them, or what a device failed with.
    pub failures: Vec<String>,
    /// Seconds of devices at work, their copies to and from the host included, all devices together.
    pub device_seconds: f64,
    /// Seconds of the host at work for them, with the copies that it takes.
    pub host_seconds: f64,
}

/// Evaluations of one function.
#[derive(Debug, Default)]
pub(super) struct Counted {
    counting: [u64; 2],
    spills: [u64; Spill::ALL.len()],
}

impl Counted {
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

    /// Adds what the CPU did of graphs.
    pub(super) fn add_host(&mut self, profile: &Profile) {
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
    }
}
