use crate::{Backend, Error, Result};

/// How much memory a piece of work needs for a number of items.
pub trait Footprint {
    /// Bytes that are in use at the peak when `items` are processed together, inputs and outputs included.
    fn bytes(&self, items: usize) -> usize;
}

impl<F: Fn(usize) -> usize> Footprint for F {
    fn bytes(&self, items: usize) -> usize {
        self(items)
    }
}

/// The largest batch, at most `items`, whose footprint fits in `budget` bytes.
///
/// # Errors
/// [`Error::OutOfMemory`] with the need of a single item when not even that fits.
pub fn batch_within(plan: &impl Footprint, items: usize, budget: usize) -> Result<usize> {
    let one = plan.bytes(1);
    if one > budget {
        return Err(Error::OutOfMemory { requested: one, used: 0, limit: budget });
    }
    // Footprints grow with the number of items, so the largest that fits is found by bisection.
    let (mut fits, mut over) = (1, items.max(1) + 1);
    while over - fits > 1 {
        let middle = fits + (over - fits) / 2;
        if plan.bytes(middle) <= budget {
            fits = middle;
        } else {
            over = middle;
        }
    }
    Ok(fits)
}

/// The largest batch, at most `items`, whose footprint fits in what is left of the backend's memory.
///
/// # Errors
/// [`Error::OutOfMemory`] naming the smallest need when not even one item fits.
pub fn batch_size<B: Backend>(b: &B, plan: &impl Footprint, items: usize) -> Result<usize> {
    let memory = b.memory();
    let left = memory.limit.saturating_sub(memory.used).min(memory.free);
    batch_within(plan, items, left).map_err(|_| Error::OutOfMemory {
        requested: plan.bytes(1),
        used: memory.used,
        limit: memory.limit.min(memory.used.saturating_add(memory.free)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn largest_batch_that_fits() {
        let plan = |items: usize| 100 + 10 * items;
        assert_eq!(batch_within(&plan, 1000, 155).unwrap(), 5);
        assert_eq!(batch_within(&plan, 3, 155).unwrap(), 3);
        assert_eq!(batch_within(&plan, 1000, 110).unwrap(), 1);
        assert!(matches!(batch_within(&plan, 1, 109), Err(Error::OutOfMemory { requested: 110, .. })));
    }

    #[test]
    fn what_is_in_use_counts() {
        let cpu = Cpu::with_memory_limit(1000);
        let held = cpu.zeros::<u8>(600).unwrap();
        let plan = |items: usize| 100 * items;
        assert_eq!(batch_size(&cpu, &plan, 64).unwrap(), 4);
        drop(held);
        assert_eq!(batch_size(&cpu, &plan, 64).unwrap(), 10);
    }
}
