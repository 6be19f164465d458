use crate::{Backend, Result};

/// A recorded launch sequence together with the state (tensors, plans) that it works on.
///
/// ```
/// use gpu_core::{Backend, Cpu, Tensor};
/// let cpu = Cpu::new();
/// let state = (Tensor::from_slice(&cpu, [2], &[1.0f32, 2.0])?, Tensor::<Cpu, f32, 1>::zeros(&cpu, [2])?);
/// let mut copy = cpu.capture(state, |b, (x, y)| b.copy(x.flat(), y.flat_mut()))?;
/// copy.replay(&cpu)?;
/// assert_eq!(copy.state().1.to_vec(&cpu)?, [1.0, 2.0]);
/// # Ok::<(), gpu_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Captured<B: Backend, S: Send + 'static> {
    state: S,
    graph: B::Graph<S>,
}

impl<B: Backend, S: Send + 'static> Captured<B, S> {
    /// For backends.
    pub fn new(state: S, graph: B::Graph<S>) -> Self {
        Self { state, graph }
    }

    /// The state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The state, to upload new inputs into its tensors. Do not replace a tensor: a device goes on with the memory that
    /// was recorded, while the CPU runs the body again and takes the new one.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// The state without the recording.
    pub fn into_state(self) -> S {
        self.state
    }

    /// Queues the recorded sequence.
    pub fn replay(&mut self, b: &B) -> Result<()> {
        self.graph.replay(b, &mut self.state)
    }
}

/// What a backend's recording can do.
pub trait Replay<B: Backend, S>: Send {
    /// Queues the recorded sequence on the queue that recorded it.
    fn replay(&mut self, b: &B, state: &mut S) -> Result<()>;
}
