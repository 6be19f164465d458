//! Which faults a run puts into kernels.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::faults::Fault;
use super::ledger::Mutant;
use super::pick::{Dice, pick};
use super::table::listed;
use super::{Kernel, Options};

/// Faults that a person asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// None by name: the dice choose.
    Dice,
    /// All of these lines, as `file:line`.
    Lines(BTreeSet<String>),
    /// These, as `docs/proofs.md` lists them.
    Listed(BTreeSet<String>),
}

impl Selection {
    /// Every fault of these lines of PTX files; without a line, what the dice choose.
    pub(crate) fn lines(places: &[String]) -> Self {
        if places.is_empty() { Self::Dice } else { Self::Lines(places.iter().cloned().collect()) }
    }

    /// The survivors that a document lists.
    pub(crate) fn listed(document: &str) -> Self {
        let lines = document.lines().filter(|line| line.starts_with("* `") && line.contains("` -> `"));
        // What changes nothing has a reason behind it.
        Self::Listed(lines.filter(|line| line.ends_with('`')).map(str::to_owned).collect())
    }

    /// Whether no fault was left out on purpose.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::Dice
    }

    /// Whether a kernel may have one of the faults.
    pub(crate) fn touches(&self, kernel: &Kernel) -> bool {
        self.is_everything() || kernel.body.faults.iter().any(|fault| self.has(kernel, fault))
    }

    fn has(&self, kernel: &Kernel, fault: &Fault) -> bool {
        match self {
            Self::Dice => false,
            Self::Lines(places) => {
                let place = format!("/{}:{}", kernel.file, fault.line);
                places.iter().any(|end| place.ends_with(&format!("/{end}")))
            }
            Self::Listed(lines) => lines.contains(&listed(
                &kernel.body.entry,
                &kernel.file,
                fault.line,
                fault.kind,
                &fault.old,
                &fault.new,
            )),
        }
    }

    /// Complains about a selection that fits no kernel.
    pub(crate) fn check(&self, kernels: &[Kernel]) -> Result<()> {
        match self {
            _ if kernels.iter().any(|kernel| self.touches(kernel)) => Ok(()),
            Self::Listed(_) => bail!("docs/proofs.md lists no survivor that these kernels could have"),
            _ => bail!(
                "no instruction that could have a fault is there: --only takes FILE:LINE, as in taps.sm_75.ptx:77"
            ),
        }
    }

    /// The faults of one kernel.
    pub(crate) fn mutants(&self, kernel: &Kernel, options: &Options) -> Vec<Mutant> {
        let faults = if self.is_everything() {
            let mut dice = Dice::new(options.seed, &format!("{} {}", kernel.file, kernel.body.entry));
            pick(&kernel.body.faults, options.per_kernel, &mut dice)
        } else {
            kernel.body.faults.iter().filter(|fault| self.has(kernel, fault)).cloned().collect()
        };
        faults.into_iter().map(|fault| kernel.mutant(fault)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults;
    use super::*;

    #[test]
    fn faults_are_selected_by_line_and_from_the_document() {
        let ptx = ".visible .entry k()\n{\n\tbar.sync 0;\n\tsetp.lt.s32 %p1, %r1, 3;\n\tmov.u32 %r1, 3;\n\tret;\n}\n";
        let body = faults::bodies(ptx).remove(0);
        let kernel = Kernel { package: "p".into(), file: "c/p/ptx/a.ptx".into(), hash: String::new(), body };
        let chosen = |selection: &Selection| -> Vec<usize> {
            kernel.body.faults.iter().filter(|fault| selection.has(&kernel, fault)).map(|fault| fault.line).collect()
        };
        let lines = |place: &str| Selection::lines(&[place.to_owned()]);
        assert_eq!(chosen(&lines("a.ptx:4")), [4]);
        assert_eq!(chosen(&lines("ptx/a.ptx:5")), [5]);
        assert!(lines("a.ptx:4").touches(&kernel) && !lines("b.ptx:4").touches(&kernel));
        assert!(lines("x.ptx:4").check(&[]).is_err() && Selection::lines(&[]).is_everything());
        let document = "* `k`, c/p/ptx/a.ptx:3, barrier: `bar.sync 0;` -> `(removed)`\n\
            * `k`, c/p/ptx/a.ptx:5, constant: `mov.u32 %r1, 3;` -> `mov.u32 %r1, 4;`: changes nothing\n* `other` text\n";
        assert_eq!(chosen(&Selection::listed(document)), [3]);
        assert!(Selection::listed("").check(std::slice::from_ref(&kernel)).is_err());
    }
}
