//! `--shard I/N`: which part of a folder this process works on.
//!
//! Shards are started by somebody else (Slurm, `mpirun`, Kubernetes, Ray, a loop in a shell); there are no claims and no
//! leases. Item number `i` of the sorted list belongs to shard `i mod N`.

use std::str::FromStr;

use crate::exit::{Failure, Result};

/// Part `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) count: usize,
    /// The number of this process among those on the same machine; chooses the GPU.
    pub(crate) local_rank: usize,
}

/// `--shard` as the user wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardChoice {
    /// What the launcher's environment variables say.
    Auto,
    /// These numbers.
    Given(Shard),
}

impl FromStr for ShardChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (index, count): (usize, usize) =
            parts.ok_or_else(|| format!("`{text}` is no shard; write I/N such as 0/4, or auto"))?;
        if count == 0 {
            return Err("there are no 0 shards; write I/N such as 0/4".to_owned());
        }
        if index >= count {
            return Err(format!(
                "shard {index} of {count} does not exist; shards are counted from 0, the last is {}/{count}",
                count.saturating_sub(1)
            ));
        }
        Ok(Self::Given(Shard { index, count, local_rank: 0 }))
    }
}

impl ShardChoice {
    /// The shard, from the numbers given or from the environment.
    pub(crate) fn resolve(self) -> Result<Shard> {
        match self {
            Self::Given(shard) => Ok(shard),
            Self::Auto => Shard::from_environment(|name| std::env::var(name).ok()),
        }
    }
}

impl Shard {
    /// The whole list.
    pub(crate) const WHOLE: Self = Self { index: 0, count: 1, local_rank: 0 };

    /// Whether item number `i` is this shard's.
    pub(crate) fn takes(&self, i: usize) -> bool {
        i % self.count == self.index
    }

    /// Reads the launcher's variables. An array of jobs (Slurm, Kubernetes) with several ranks in each job (OpenMPI, PMI)
    /// is one list of `jobs * ranks` shards.
    fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| -> Result<Option<usize>> {
            get(name)
                .map(|v| v.trim().parse().map_err(|_| Failure::usage(format!("{name}={v} is no number"))))
                .transpose()
        };
        let pair = |index: &str, count: &str| -> Result<Option<(usize, usize)>> {
            match (number(index)?, number(count)?) {
                (Some(i), Some(n)) => Ok(Some((i, n))),
                (Some(_), None) => {
                    Err(Failure::usage(format!("{index} is set but {count} is not; set both, or --shard I/N")))
                }
                // A count alone is common: Slurm exports some variables to every step.
                (None, _) => Ok(None),
            }
        };
        let slurm = match pair("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")? {
            Some((id, count)) => {
                // Arrays may start anywhere and go in steps: --array=10-40:10 is four tasks.
                let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
                let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
                Some((id.checked_sub(first).map_or(usize::MAX, |d| d / step), count))
            }
            None => None,
        };
        let jobs = match slurm {
            Some(pair) => Some(pair),
            None => pair("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")?,
        };
        let ranks = match pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")? {
            Some(pair) => Some(pair),
            None => pair("PMI_RANK", "PMI_SIZE")?,
        };
        if jobs.is_none() && ranks.is_none() {
            return Err(Failure::usage("--shard auto: no launcher has set a rank").help(
                "it reads SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, OMPI_COMM_WORLD_RANK and \
                 OMPI_COMM_WORLD_SIZE, PMI_RANK and PMI_SIZE, or JOB_COMPLETION_INDEX and JOB_COMPLETIONS; \
                 without a launcher write --shard I/N",
            ));
        }
        let ((job, jobs), (rank, ranks)) = (jobs.unwrap_or((0, 1)), ranks.unwrap_or((0, 1)));
        let (index, count) = (job.saturating_mul(ranks).saturating_add(rank), jobs.saturating_mul(ranks));
        if job >= jobs || rank >= ranks {
            return Err(Failure::usage(format!("--shard auto: shard {index} of {count} does not exist")).help(
                "for a Slurm array that does not start at 0, SLURM_ARRAY_TASK_MIN must be set too; else write \
                 --shard I/N",
            ));
        }
        let mut local_rank = rank;
        for name in ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"] {
            if let Some(n) = number(name)? {
                local_rank = n;
                break;
            }
        }
        Ok(Self { index, count, local_rank })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Shard> {
        Shard::from_environment(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn numbers_are_read_and_checked() {
        assert_eq!("1/4".parse(), Ok(ShardChoice::Given(Shard { index: 1, count: 4, local_rank: 0 })));
        assert_eq!("auto".parse(), Ok(ShardChoice::Auto));
        for bad in ["4/4", "0/0", "1", "a/b", "-1/4", "1/4/2"] {
            assert!(bad.parse::<ShardChoice>().is_err(), "{bad}");
        }
        assert!("4/4".parse::<ShardChoice>().unwrap_err().contains("3/4"));
        assert!("0/0".parse::<ShardChoice>().unwrap_err().contains("0/4"));
    }

    #[test]
    fn every_item_is_in_one_shard() {
        for i in 0..50 {
            let owners = (0..7).filter(|&index| Shard { index, count: 7, local_rank: 0 }.takes(i)).count();
            assert_eq!(owners, 1);
        }
    }

    #[test]
    fn launchers() {
        let plain = |index, count, local_rank| Shard { index, count, local_rank };
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "30"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_STEP", "10"),
        ];
        assert_eq!(of(&slurm).unwrap(), plain(2, 4, 0));
        let mpi = [("OMPI_COMM_WORLD_RANK", "5"), ("OMPI_COMM_WORLD_SIZE", "8"), ("OMPI_COMM_WORLD_LOCAL_RANK", "1")];
        assert_eq!(of(&mpi).unwrap(), plain(5, 8, 1));
        assert_eq!(of(&[("PMI_RANK", "3"), ("PMI_SIZE", "4")]).unwrap(), plain(3, 4, 3));
        assert_eq!(of(&[("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "2")]).unwrap(), plain(0, 2, 0));
        let both =
            [("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "3"), ("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        assert_eq!(of(&both).unwrap(), plain(3, 6, 1));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(of(&[]).unwrap_err().help.unwrap().contains("JOB_COMPLETIONS"));
        assert!(of(&[("PMI_RANK", "1")]).unwrap_err().message.contains("PMI_SIZE"));
        assert!(of(&[("PMI_RANK", "4"), ("PMI_SIZE", "4")]).unwrap_err().message.contains("4 of 4"));
        assert!(of(&[("PMI_RANK", "x"), ("PMI_SIZE", "4")]).unwrap_err().message.contains("PMI_RANK=x"));
    }
}
