use std::str::FromStr;

#[cfg(feature = "cuda")]
use crate::cuda::Cuda;
use crate::{Backend, Cpu, Device, Error, Result};

/// A backend chosen at run time; [`with_backend!`](crate::with_backend) turns it into a generic call.
#[derive(Clone, Debug)]
pub enum AnyBackend {
    /// The CPU.
    Cpu(Cpu),
    /// An NVIDIA GPU.
    #[cfg(feature = "cuda")]
    Cuda(Cuda),
}

/// Which backend to open, as a user writes it: `auto`, `cpu`, `cuda` or `cuda:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// CUDA when a device opens, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this ordinal.
    Cuda(usize),
}

impl FromStr for Choice {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => s
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| Error::value("backend", format!("`{s}` is none of auto, cpu, cuda, cuda:N"))),
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl AnyBackend {
    /// Opens what `choice` names: `auto`, `cpu`, `cuda` or `cuda:N`.
    ///
    /// `auto` takes the first CUDA device, and otherwise the CPU with one logged warning that says why.
    pub fn open(choice: &str) -> Result<Self> {
        Self::choose(choice.parse()?)
    }

    /// Opens a parsed choice.
    pub fn choose(choice: Choice) -> Result<Self> {
        match choice {
            Choice::Cpu => Ok(Self::Cpu(Cpu::new())),
            Choice::Cuda(ordinal) => Self::cuda(ordinal),
            Choice::Auto => match Self::cuda(0) {
                Ok(cuda) => Ok(cuda),
                Err(reason) => {
                    tracing::warn!(%reason, "running on the CPU");
                    Ok(Self::Cpu(Cpu::new()))
                }
            },
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(ordinal: usize) -> Result<Self> {
        Cuda::open(ordinal).map(Self::Cuda)
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(_ordinal: usize) -> Result<Self> {
        Err(Error::NotCompiled { feature: "cuda" })
    }

    /// The same device with a memory budget in bytes.
    pub fn with_memory_limit(self, bytes: usize) -> Result<Self> {
        Ok(match self {
            Self::Cpu(_) => Self::Cpu(Cpu::with_memory_limit(bytes)),
            #[cfg(feature = "cuda")]
            Self::Cuda(b) => Self::Cuda(b.with_memory_limit(bytes)?),
        })
    }

    /// `"cpu"` or `"cuda"`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => Cpu::NAME,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => Cuda::NAME,
        }
    }

    /// The device behind it.
    pub fn device(&self) -> &Device {
        match self {
            Self::Cpu(b) => b.device(),
            #[cfg(feature = "cuda")]
            Self::Cuda(b) => b.device(),
        }
    }
}

/// Runs a generic expression on the backend inside an [`AnyBackend`].
///
/// ```
/// use gpu_core::{AnyBackend, Backend, with_backend};
/// fn queue_name<B: Backend>(_: &B) -> &'static str { B::NAME }
/// let any = AnyBackend::open("cpu")?;
/// assert_eq!(with_backend!(&any, |b| queue_name(b)), "cpu");
/// # Ok::<(), gpu_core::Error>(())
/// ```
#[cfg(feature = "cuda")]
#[macro_export]
macro_rules! with_backend {
    ($any:expr, |$b:ident| $body:expr) => {
        match $any {
            $crate::AnyBackend::Cpu($b) => $body,
            $crate::AnyBackend::Cuda($b) => $body,
        }
    };
}

/// Runs a generic expression on the backend inside an [`AnyBackend`].
///
/// ```
/// use gpu_core::{AnyBackend, Backend, with_backend};
/// fn queue_name<B: Backend>(_: &B) -> &'static str { B::NAME }
/// let any = AnyBackend::open("cpu")?;
/// assert_eq!(with_backend!(&any, |b| queue_name(b)), "cpu");
/// # Ok::<(), gpu_core::Error>(())
/// ```
#[cfg(not(feature = "cuda"))]
#[macro_export]
macro_rules! with_backend {
    ($any:expr, |$b:ident| $body:expr) => {
        match $any {
            $crate::AnyBackend::Cpu($b) => $body,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_bad_ones_named() {
        assert_eq!("cuda:3".parse::<Choice>().unwrap(), Choice::Cuda(3));
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Auto);
        let error = "gpu".parse::<Choice>().unwrap_err().to_string();
        assert!(error.contains("gpu") && error.contains("cuda:N"), "{error}");
    }

    #[test]
    fn auto_always_opens_something() {
        assert!(["cpu", "cuda"].contains(&AnyBackend::open("auto").unwrap().name()));
    }
}
