//! Statistics of frames that follow one another: those of the frame itself, a running mean, or those of the first.

use crate::cpu::moments::Moments;

/// Whose statistics the norms of a network use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Statistics {
    /// Each picture's own: exact, and the same whatever came before.
    #[default]
    Frame,
    /// So much (0 to below 1) of the mean and variance that the picture before was normalised with, and the rest its own.
    /// Colours that jump from frame to frame are damped; textures that boil are not.
    Average(f64),
    /// Those of the first picture for all that follow.
    Frozen,
}

/// What the pictures before were normalised with.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) of: Statistics,
    /// Mean and variance by layers and channels.
    layers: Vec<Vec<[f64; 2]>>,
}

impl History {
    /// Begins anew.
    pub(crate) fn new(of: Statistics) -> Self {
        Self { of, layers: Vec::new() }
    }

    /// What a layer of this picture is normalised with, from its own moments of `count` pixels. Layers come in order.
    pub(crate) fn next(&mut self, layer: usize, moments: &mut [Moments], count: usize) {
        let own = match self.of {
            Statistics::Frame => return,
            Statistics::Average(share) => 1.0 - share,
            Statistics::Frozen => 0.0,
        };
        let count = count as f64;
        let Some(before) = self.layers.get_mut(layer) else {
            self.layers.push(moments.iter().map(|m| [m.mean, m.m2 / count]).collect());
            return;
        };
        for (m, before) in moments.iter_mut().zip(before) {
            let now = [m.mean, m.m2 / count];
            *before = [0, 1].map(|i| own.mul_add(now[i] - before[i], before[i]));
            *m = Moments { mean: before[0], m2: before[1] * count };
        }
    }
}
