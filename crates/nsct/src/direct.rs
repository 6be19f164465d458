//! Engines A and B: every filter as a polynomial in its mapping, the mapping applied in the image domain
//!. Engine B applies the mapping of a ladder as two one-dimensional filters.
//!
//! A tree is walked depth first. A node writes its two outputs next to each other into the workspace of its depth, or,
//! at the last depth, into the coefficients; so the workspace holds two planes a depth, whatever the number of leaves.

use gpu_core::{Tensor, View, ViewMut};

use crate::filters::{Poly, Pyramid1d, directional, pyramid_prototype};
use crate::kernels::{Planes, TapTable, mirror_map, pair_mix, poly_pair, taps};
use crate::tree::{NodeTap, ladder_node, node_taps};
use crate::{Engine, NsctBackend, NsctSpec, Real, Result, Side};

/// Tables and numbers for one specification and image size.
#[derive(Debug)]
pub(crate) struct Direct<B: NsctBackend<T>, T: Real> {
    height: usize,
    width: usize,
    levels: Vec<u8>,
    pyramid: Pyramid1d,
    /// The two polynomials of a node, for both sides.
    tree: [[Poly; 2]; 2],
    /// `nodes[depth - 1][node - 1]`; both nodes of depth 2 are alike and stand there once.
    nodes: Vec<Vec<NodeMapping<B, T>>>,
    /// One tap 1: copies planes between strides.
    identity: TapTable<B, T>,
}

/// One node's mapping: one filter, or two to be applied one after the other.
#[derive(Debug)]
struct NodeMapping<B: NsctBackend<T>, T: Real> {
    first: TapTable<B, T>,
    second: Option<TapTable<B, T>>,
}

/// Memory that a transform of `count` planes works in.
#[derive(Debug)]
pub(crate) struct DirectWorkspace<B: NsctBackend<T>, T: Real> {
    count: usize,
    /// Low-pass and high-pass of two successive pyramid steps, `[count, 2, area]`.
    steps: [Tensor<B, T, 3>; 2],
    /// The pairs of depth 1, 2, … but the last, `[count, 2, area]`.
    depths: Vec<Tensor<B, T, 3>>,
    /// Powers of a mapping in the analysis, partial sums in the synthesis, `[count, area]`.
    powers: Vec<Tensor<B, T, 2>>,
    /// Between the two filters of a ladder, `[count, area]`.
    between: Option<Tensor<B, T, 2>>,
}

/// A mapping to be applied.
enum Mapping<'a, B: NsctBackend<T>, T: Real> {
    Pyramid { taps: &'a [f64], step: u64 },
    Node(&'a NodeMapping<B, T>),
}

/// Planes somewhere in a buffer: the first at element 0 of the view, each further one a stride behind.
struct Source<'a, B: NsctBackend<T>, T: Real> {
    view: View<'a, B, T>,
    stride: usize,
}

#[allow(clippy::expl_impl_clone_on_copy, reason = "a derived one would ask for `B: Copy`")]
impl<B: NsctBackend<T>, T: Real> Clone for Source<'_, B, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: NsctBackend<T>, T: Real> Copy for Source<'_, B, T> {}

/// As [`Source`], for writing.
struct Target<'a, B: NsctBackend<T>, T: Real> {
    view: ViewMut<'a, B, T>,
    stride: usize,
}

impl<B: NsctBackend<T>, T: Real> Target<'_, B, T> {
    fn reborrow(&mut self) -> Target<'_, B, T> {
        Target { view: self.view.reborrow(), stride: self.stride }
    }
}

/// `view` from element `at` on.
fn from<B: NsctBackend<T>, T: Real>(view: View<'_, B, T>, at: usize) -> Result<View<'_, B, T>> {
    let len = view.len();
    Ok(view.slice(at..len)?)
}

fn from_mut<B: NsctBackend<T>, T: Real>(view: ViewMut<'_, B, T>, at: usize) -> Result<ViewMut<'_, B, T>> {
    let len = view.len();
    Ok(view.slice(at..len)?)
}

impl<B: NsctBackend<T>, T: Real> NodeMapping<B, T> {
    fn new(b: &B, height: usize, width: usize, first: Vec<NodeTap>, second: Option<Vec<NodeTap>>) -> Result<Self> {
        let table = |taps: Vec<NodeTap>| {
            let taps: Vec<_> = taps.into_iter().map(Into::into).collect();
            TapTable::new(b, height, width, &taps)
        };
        Ok(Self { first: table(first)?, second: second.map(table).transpose()? })
    }
}

impl<B: NsctBackend<T>, T: Real> Direct<B, T> {
    /// For [`Engine::Ladder`] with two filters a node, else with one.
    pub(crate) fn new(b: &B, spec: &NsctSpec, engine: Engine, height: usize, width: usize) -> Result<Self> {
        let filters = directional(spec.dir)?;
        let mapping = |l: u8, k: usize| {
            let split = if engine == Engine::Ladder { ladder_node(&filters, spec.geometry, l, k)? } else { None };
            let (first, second) = match split {
                Some((first, second)) => (first, Some(second)),
                None => (node_taps(&filters, spec.geometry, l, k)?, None),
            };
            NodeMapping::new(b, height, width, first, second)
        };
        let deepest = spec.levels.iter().copied().max().unwrap_or(0);
        let nodes = (1..=deepest)
            .map(|l| (1..=if l == 2 { 1 } else { 1 << (l - 1) }).map(|k| mapping(l, k)).collect())
            .collect::<Result<_>>()?;
        Ok(Self {
            height,
            width,
            levels: spec.levels.clone(),
            pyramid: pyramid_prototype(spec.pyr),
            tree: [Side::Analysis, Side::Synthesis].map(|side| filters.pair(side).map(Clone::clone)),
            nodes,
            identity: TapTable::new(b, height, width, &[(0, 0, 1.0)])?,
        })
    }

    /// Number of buffers of one plane, and of two, in a workspace.
    fn buffers(&self) -> (usize, usize) {
        let degree = |pair: [&Poly; 2]| pair.map(Poly::degree).into_iter().max().unwrap_or(0);
        let sides = [Side::Analysis, Side::Synthesis];
        let powers = sides.map(|side| degree(self.tree_pair(side)).max(degree(self.pyramid.pair(side))));
        let between = self.nodes.iter().flatten().any(|node| node.second.is_some());
        // The synthesis alternates between two partial sums.
        let single = powers.into_iter().fold(2, usize::max) + usize::from(between);
        (single, 2 + self.nodes.len().saturating_sub(1))
    }

    pub(crate) fn workspace_bytes(&self, count: usize) -> usize {
        let (single, double) = self.buffers();
        let plane = self.height * self.width * size_of::<T>();
        count.saturating_mul(plane).saturating_mul(single + 2 * double)
    }

    pub(crate) fn workspace(&self, b: &B, count: usize) -> Result<DirectWorkspace<B, T>> {
        let area = self.height * self.width;
        let pair = || Tensor::scratch(b, [count, 2, area]);
        let (single, double) = self.buffers();
        let mut powers =
            (0..single).map(|_| Tensor::scratch(b, [count, area])).collect::<gpu_core::Result<Vec<_>>>()?;
        let ladder = self.nodes.iter().flatten().any(|node| node.second.is_some());
        Ok(DirectWorkspace {
            count,
            steps: [pair()?, pair()?],
            depths: (2..double).map(|_| pair()).collect::<gpu_core::Result<_>>()?,
            between: if ladder { powers.pop() } else { None },
            powers,
        })
    }

    fn tree_pair(&self, side: Side) -> [&Poly; 2] {
        self.tree[usize::from(side == Side::Synthesis)].each_ref()
    }

    fn node(&self, l: u8, k: usize) -> Mapping<'_, B, T> {
        let depth = &self.nodes[usize::from(l) - 1];
        Mapping::Node(&depth[if l == 2 { 0 } else { k - 1 }])
    }

    /// First plane of each scale, coarsest first, and the number of planes.
    fn scales(&self) -> (Vec<usize>, usize) {
        let mut next = 1;
        let mut first = Vec::with_capacity(self.levels.len());
        for &n in &self.levels {
            first.push(next);
            next += 1 << n;
        }
        (first, next)
    }

    /// Transforms `count` dense planes of `x`; `out` is `[count, planes, height, width]`.
    pub(crate) fn decompose(
        &self,
        b: &B,
        work: &mut DirectWorkspace<B, T>,
        count: usize,
        x: View<'_, B, T>,
        mut out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        debug_assert!(count <= work.count, "the workspace is large enough");
        let run = Run { direct: self, b, planes: self.planes(count), side: Side::Analysis };
        let area = run.planes.area();
        let (first, total) = self.scales();
        let [mut now, mut before] = work.steps.each_mut();
        let mut low = Source { view: x, stride: area };
        for (i, (&n, &first)) in self.levels.iter().zip(&first).rev().enumerate() {
            let step = Mapping::Pyramid { taps: &self.pyramid.taps, step: run.dilation(i) };
            let pair = Target { view: now.flat_mut(), stride: 2 * area };
            let scratch = Scratch { powers: &mut work.powers, between: &mut work.between };
            run.analyse(&step, self.pyramid.pair(Side::Analysis), low, scratch, pair, area)?;
            let high = Source { view: from(now.flat(), area)?, stride: 2 * area };
            let mut planes = Target { view: from_mut(out.reborrow(), first * area)?, stride: total * area };
            if n == 0 {
                run.copy(high, planes)?;
            } else {
                let scratch = Scratch { powers: &mut work.powers, between: &mut work.between };
                run.grow(n, (1, 1), high, &mut work.depths, scratch, &mut planes)?;
            }
            std::mem::swap(&mut now, &mut before);
            low = Source { view: before.flat(), stride: 2 * area };
        }
        run.copy(low, Target { view: out, stride: total * area })
    }

    /// The inverse, or with the analysis side the adjoint, of [`Direct::decompose`].
    pub(crate) fn reconstruct(
        &self,
        b: &B,
        work: &mut DirectWorkspace<B, T>,
        count: usize,
        side: Side,
        coefficients: View<'_, B, T>,
        out: ViewMut<'_, B, T>,
    ) -> Result<()> {
        debug_assert!(count <= work.count, "the workspace is large enough");
        let run = Run { direct: self, b, planes: self.planes(count), side };
        let area = run.planes.area();
        let (first, total) = self.scales();
        let stride = total * area;
        let low = Source { view: coefficients, stride };
        let steps = self.levels.len();
        let mut out = Target { view: out, stride: area };
        if steps == 0 {
            return run.copy(low, out);
        }
        let [mut now, mut next] = work.steps.each_mut();
        run.copy(low, Target { view: now.flat_mut(), stride: 2 * area })?;
        for (j, (&n, &first)) in self.levels.iter().zip(&first).enumerate() {
            let planes = Source { view: from(coefficients, first * area)?, stride };
            let high = Target { view: from_mut(now.flat_mut(), area)?, stride: 2 * area };
            if n == 0 {
                run.copy(planes, high)?;
            } else {
                let scratch = Scratch { powers: &mut work.powers, between: &mut work.between };
                run.shrink(n, (1, 1), planes, &mut work.depths, scratch, high)?;
            }
            let i = steps - 1 - j;
            let step = Mapping::Pyramid { taps: &self.pyramid.taps, step: run.dilation(i) };
            let pair = Source { view: now.flat(), stride: 2 * area };
            let scratch = Scratch { powers: &mut work.powers, between: &mut work.between };
            let result = if i == 0 { out.reborrow() } else { Target { view: next.flat_mut(), stride: 2 * area } };
            run.synthesise(&step, self.pyramid.pair(side), pair, area, scratch, result)?;
            std::mem::swap(&mut now, &mut next);
        }
        Ok(())
    }

    fn planes(&self, count: usize) -> Planes {
        Planes { count, height: self.height, width: self.width }
    }
}

/// The part of a workspace that a single node uses.
struct Scratch<'a, B: NsctBackend<T>, T: Real> {
    powers: &'a mut [Tensor<B, T, 2>],
    between: &'a mut Option<Tensor<B, T, 2>>,
}

impl<B: NsctBackend<T>, T: Real> Scratch<'_, B, T> {
    fn reborrow(&mut self) -> Scratch<'_, B, T> {
        Scratch { powers: self.powers, between: self.between }
    }
}

/// One call.
struct Run<'a, B: NsctBackend<T>, T: Real> {
    direct: &'a Direct<B, T>,
    b: &'a B,
    planes: Planes,
    side: Side,
}

impl<B: NsctBackend<T>, T: Real> Run<'_, B, T> {
    fn dilation(&self, step: usize) -> u64 {
        crate::filters::dilation(step, self.planes.height, self.planes.width)
    }

    fn copy(&self, x: Source<'_, B, T>, y: Target<'_, B, T>) -> Result<()> {
        Ok(taps(self.b, self.planes, &self.direct.identity, x.view, x.stride, y.view, y.stride)?)
    }

    /// `y = K x`.
    fn apply(
        &self,
        mapping: &Mapping<'_, B, T>,
        x: Source<'_, B, T>,
        between: &mut Option<Tensor<B, T, 2>>,
        y: Target<'_, B, T>,
    ) -> Result<()> {
        let (b, planes, area) = (self.b, self.planes, self.planes.area());
        match mapping {
            Mapping::Pyramid { taps, step } => {
                mirror_map(b, planes, taps, *step, x.view, x.stride, y.view, y.stride)?;
            }
            Mapping::Node(node) => match (&node.second, between) {
                (Some(second), Some(between)) => {
                    taps(b, planes, &node.first, x.view, x.stride, between.flat_mut(), area)?;
                    taps(b, planes, second, between.flat(), area, y.view, y.stride)?;
                }
                _ => taps(b, planes, &node.first, x.view, x.stride, y.view, y.stride)?,
            },
        }
        Ok(())
    }

    /// `y0 = p0(K) x` and `y1 = p1(K) x`, the second `pair_stride` behind the first.
    fn analyse(
        &self,
        mapping: &Mapping<'_, B, T>,
        [p0, p1]: [&Poly; 2],
        x: Source<'_, B, T>,
        scratch: Scratch<'_, B, T>,
        y: Target<'_, B, T>,
        pair_stride: usize,
    ) -> Result<()> {
        let area = self.planes.area();
        let degree = p0.degree().max(p1.degree());
        let powers = &mut scratch.powers[..degree];
        for d in 0..degree {
            let (lower, higher) = powers.split_at_mut(d);
            let from = lower.last().map_or(x, |t| Source { view: t.flat(), stride: area });
            self.apply(mapping, from, scratch.between, Target { view: higher[0].flat_mut(), stride: area })?;
        }
        let powers: Vec<_> = powers.iter().map(Tensor::flat).collect();
        let polynomials = [p0.coefficients(), p1.coefficients()];
        let (b, planes) = (self.b, self.planes);
        Ok(poly_pair(b, planes, polynomials, x.view, x.stride, &powers, y.view, y.stride, pair_stride)?)
    }

    /// `y = p0(K) x0 + p1(K) x1`, with `x1` `pair_stride` behind `x0`.
    fn synthesise(
        &self,
        mapping: &Mapping<'_, B, T>,
        [p0, p1]: [&Poly; 2],
        x: Source<'_, B, T>,
        pair_stride: usize,
        scratch: Scratch<'_, B, T>,
        mut y: Target<'_, B, T>,
    ) -> Result<()> {
        let area = self.planes.area();
        let degree = p0.degree().max(p1.degree());
        let coefficient = |p: &Poly, d: usize| p.coefficients().get(d).copied().unwrap_or(0.0);
        // y = (((a_D x) K + a_{D-1} x) K + …) with a_d x = p0_d x0 + p1_d x1, in two buffers by turns.
        let (now, next) = scratch.powers.split_at_mut(1);
        let (mut now, mut next) = (&mut now[0], &mut next[0]);
        for d in (0..=degree).rev() {
            let mut sum = if d == 0 { y.reborrow() } else { Target { view: next.flat_mut(), stride: area } };
            if d < degree {
                self.apply(mapping, Source { view: now.flat(), stride: area }, scratch.between, sum.reborrow())?;
            }
            let factors = [coefficient(p0, d), coefficient(p1, d)];
            let (b, planes) = (self.b, self.planes);
            pair_mix(b, planes, factors, d < degree, x.view, x.stride, pair_stride, sum.view, sum.stride)?;
            std::mem::swap(&mut now, &mut next);
        }
        Ok(())
    }

    /// The planes below node `(l, k)` of a tree of depth `n`, into `out`, which holds all planes of the tree.
    fn grow(
        &self,
        n: u8,
        (l, k): (u8, usize),
        x: Source<'_, B, T>,
        depths: &mut [Tensor<B, T, 3>],
        mut scratch: Scratch<'_, B, T>,
        out: &mut Target<'_, B, T>,
    ) -> Result<()> {
        let area = self.planes.area();
        let pair = self.direct.tree_pair(Side::Analysis);
        let node = self.direct.node(l, k);
        if l == n {
            let view = from_mut(out.view.reborrow(), 2 * (k - 1) * area)?;
            return self.analyse(&node, pair, x, scratch, Target { view, stride: out.stride }, area);
        }
        let (here, deeper) = depths.split_at_mut(1);
        let here = &mut here[0];
        let target = Target { view: here.flat_mut(), stride: 2 * area };
        self.analyse(&node, pair, x, scratch.reborrow(), target, area)?;
        for child in 0..2 {
            let x = Source { view: from(here.flat(), child * area)?, stride: 2 * area };
            self.grow(n, (l + 1, 2 * k - 1 + child), x, deeper, scratch.reborrow(), out)?;
        }
        Ok(())
    }

    /// The opposite of [`Run::grow`].
    fn shrink(
        &self,
        n: u8,
        (l, k): (u8, usize),
        planes: Source<'_, B, T>,
        depths: &mut [Tensor<B, T, 3>],
        mut scratch: Scratch<'_, B, T>,
        y: Target<'_, B, T>,
    ) -> Result<()> {
        let area = self.planes.area();
        let pair = self.direct.tree_pair(self.side);
        let node = self.direct.node(l, k);
        if l == n {
            let x = Source { view: from(planes.view, 2 * (k - 1) * area)?, stride: planes.stride };
            return self.synthesise(&node, pair, x, area, scratch, y);
        }
        let (here, deeper) = depths.split_at_mut(1);
        let here = &mut here[0];
        for child in 0..2 {
            let target = Target { view: from_mut(here.flat_mut(), child * area)?, stride: 2 * area };
            self.shrink(n, (l + 1, 2 * k - 1 + child), planes, deeper, scratch.reborrow(), target)?;
        }
        let x = Source { view: here.flat(), stride: 2 * area };
        self.synthesise(&node, pair, x, area, scratch, y)
    }
}

#[cfg(test)]
mod tests {
    use gpu_core::{Cpu, Tensor};

    use super::*;

    /// All planes of a tree of depth `n`, without the pyramid.
    fn tree(b: &Cpu, direct: &Direct<Cpu, f64>, n: u8, x: &[f64]) -> Vec<f64> {
        let area = direct.height * direct.width;
        let x = Tensor::from_slice(b, [area], x).unwrap();
        let mut out = Tensor::<Cpu, f64, 1>::scratch(b, [area << n]).unwrap();
        let mut work = direct.workspace(b, 1).unwrap();
        let run = Run { direct, b, planes: direct.planes(1), side: Side::Analysis };
        let scratch = Scratch { powers: &mut work.powers, between: &mut work.between };
        let source = Source { view: x.flat(), stride: area };
        let mut target = Target { view: out.flat_mut(), stride: area << n };
        run.grow(n, (1, 1), source, &mut work.depths, scratch, &mut target).unwrap();
        out.to_vec(b).unwrap()
    }

    #[test]
    fn the_tree_commutes_with_circular_shifts() {
        let b = Cpu::new();
        let (h, w) = (12, 17);
        let shifted =
            |plane: &[f64]| -> Vec<f64> { (0..h * w).map(|i| plane[(i / w + 5) % h * w + (i % w + 11) % w]).collect() };
        for (name, engine) in [("dmaxflat4", Engine::Taps), ("pkva", Engine::Ladder), ("vk", Engine::Taps)] {
            let spec = NsctSpec::new([4]).with_dir(name.parse().unwrap());
            let direct = Direct::new(&b, &spec, engine, h, w).unwrap();
            let x: Vec<f64> = (0..h * w).map(|i| (i * i % 251) as f64).collect();
            let planes = tree(&b, &direct, 4, &x);
            let wanted: Vec<f64> = planes.chunks(h * w).flat_map(shifted).collect();
            // Every pixel sums the same numbers in the same order, wherever it stands.
            assert_eq!(tree(&b, &direct, 4, &shifted(&x)), wanted, "{name}");
        }
    }
}
