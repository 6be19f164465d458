use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gpu_core::{Footprint, Tensor, TensorView, TensorViewMut, View, ViewMut, batch_size, batch_within};
use ndarray::{Array4, Array5, ArrayView4, ArrayView5};

use crate::auto;
use crate::direct::{Direct, DirectWorkspace};
use crate::kernels::FourierPlan;
use crate::plane_gains::plane_gains;
use crate::spectral::{SpectralEngine, SpectralWorkspace};
use crate::toolbox::{DenseEngine, DenseWorkspace};
use crate::{Coeffs, Engine, Error, NsctBackend, NsctSpec, PlaneId, Real, Result, Side};

/// A transform prepared for one specification, image size and queue: make once, use often.
///
/// ```
/// use gpu_core::{Cpu, Tensor};
/// use nsct::{NsctPlan, NsctSpec};
///
/// let cpu = Cpu::new();
/// let plan = NsctPlan::<_, f32>::new(&cpu, &NsctSpec::new([2, 3]), 48, 64)?;
/// let pixels: Vec<f32> = (0..48 * 64).map(|i| (i % 251) as f32).collect();
/// let x = Tensor::from_slice(&cpu, [1, 1, 48, 64], &pixels)?;
///
/// let coeffs = plan.decompose(&x)?;
/// assert_eq!(coeffs.shape(), [1, 1, 1 + 4 + 8, 48, 64]);
/// let back = plan.reconstruct(&coeffs)?.to_vec(&cpu)?;
/// assert!(back.iter().zip(&pixels).all(|(a, b)| (a - b).abs() < 1e-3));
/// # Ok::<(), nsct::Error>(())
/// ```
///
/// Images are `[B, C, H, W]`; the `B * C` planes are transformed independently, and a plane's result has the same bits
/// in every batch. All work goes to the queue that the plan was made on, and nothing waits for it. Inputs on the device
/// are dense, as every [`TensorView`] is; arrays on the host, as for [`decompose_array`](Self::decompose_array), may have
/// any strides.
///
/// **Memory.** The plan keeps the workspace of its largest call for the next one, so repeated calls of
/// [`decompose_into`](Self::decompose_into) and [`reconstruct_into`](Self::reconstruct_into) allocate nothing and may be
/// captured ([`reserve`](Self::reserve) makes the workspace beforehand). A batch whose workspace does not fit the
/// device, or the budget of [`with_workspace_budget`](Self::with_workspace_budget), is worked through in parts;
/// [`decompose_array`](Self::decompose_array) also keeps inputs and outputs on the host.
#[derive(Debug)]
pub struct NsctPlan<B: NsctBackend<T>, T: Real> {
    b: B,
    spec: NsctSpec,
    height: usize,
    width: usize,
    planes: Arc<[PlaneId]>,
    engine: Engine,
    run: Run<B, T>,
    budget: Option<usize>,
    idle: Mutex<Option<Workspace<B, T>>>,
    gains: OnceLock<Vec<f64>>,
}

/// An engine with its tables.
#[derive(Debug)]
enum Run<B: NsctBackend<T>, T: Real> {
    Direct(Direct<B, T>),
    Spectral(SpectralEngine<B, T>),
    Dense(DenseEngine<B, T>),
}

#[derive(Debug)]
struct Workspace<B: NsctBackend<T>, T: Real> {
    /// Planes that fit.
    count: usize,
    memory: Memory<B, T>,
}

#[derive(Debug)]
enum Memory<B: NsctBackend<T>, T: Real> {
    Direct(DirectWorkspace<B, T>),
    Spectral(SpectralWorkspace<B, T>),
    Dense(DenseWorkspace<B, T>),
}

impl<B: NsctBackend<T>, T: Real> NsctPlan<B, T> {
    /// Prepares the transform of images of `height` x `width`.
    ///
    /// # Errors
    /// When the image has no pixels, the specification is not valid, or its engine cannot run on this device.
    pub fn new(b: &B, spec: &NsctSpec, height: usize, width: usize) -> Result<Self> {
        spec.validate()?;
        if height == 0 || width == 0 {
            return Err(Error::EmptyImage { height, width });
        }
        let (engine, run) = Run::new(b, spec, height, width)?;
        Ok(Self {
            b: b.clone(),
            spec: spec.clone(),
            height,
            width,
            planes: spec.planes().into(),
            engine,
            run,
            budget: None,
            idle: Mutex::new(None),
            gains: OnceLock::new(),
        })
    }

    /// The same plan, which lets its workspace take at most `bytes`. Results keep their bits.
    ///
    /// A budget below [`workspace_bytes(1)`](Self::workspace_bytes) makes every transform fail with
    /// [`gpu_core::Error::OutOfMemory`].
    pub fn with_workspace_budget(self, bytes: usize) -> Self {
        Self { budget: Some(bytes), idle: Mutex::new(None), ..self }
    }

    /// What is computed.
    pub fn spec(&self) -> &NsctSpec {
        &self.spec
    }

    /// The engine that computes it; never [`Engine::Auto`].
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Rows and columns of the images.
    pub fn image_size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// The queue that all work goes to.
    pub fn backend(&self) -> &B {
        &self.b
    }

    /// The planes of one image's transform, in order.
    pub fn planes(&self) -> &[PlaneId] {
        &self.planes
    }

    /// Bytes that the plan works in while it transforms `batch` planes (images times channels) without a budget, beside
    /// images and coefficients.
    pub fn workspace_bytes(&self, batch: usize) -> usize {
        let count = batch.min(self.together());
        match &self.run {
            Run::Direct(direct) => direct.workspace_bytes(count),
            Run::Spectral(spectral) => spectral.workspace_bytes(count),
            Run::Dense(dense) => dense.workspace_bytes(count),
        }
    }

    /// How many of `images` channel images can be worked on together when each needs memory for `planes` planes of its
    /// size beside the plan's workspace: 1 + S to decompose it. A workspace that the plan holds already is not counted
    /// twice.
    ///
    /// # Errors
    /// When not even one image fits.
    pub fn images_at_once(&self, images: usize, planes: usize) -> Result<usize> {
        let held = self.idle.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |w| w.count);
        let each = (self.height * self.width * size_of::<T>()).saturating_mul(planes);
        let need = |n: usize| match n.min(self.together()) {
            count if count <= held => n.saturating_mul(each),
            _ => n.saturating_mul(each).saturating_add(self.workspace_bytes(n)),
        };
        Ok(batch_size(&self.b, &need, images)?)
    }

    /// Makes the tables of both directions and the workspace for `batch` planes now, so that no later call has to: do
    /// this before a capture.
    ///
    /// # Errors
    /// When not even one plane's workspace fits.
    pub fn reserve(&self, batch: usize) -> Result<()> {
        if let Run::Spectral(spectral) = &self.run {
            spectral.reserve(&self.b)?;
        }
        let workspace = self.take(batch)?;
        self.put(workspace);
        Ok(())
    }

    /// The norm of each plane of a unit impulse's transform: white noise of standard deviation `sigma` has
    /// `sigma * gains()[s]` in plane `s`. Computed in f64 on the host at the first call, and kept.
    ///
    /// # Errors
    /// When the host's memory does not suffice.
    pub fn gains(&self) -> Result<&[f64]> {
        if let Some(gains) = self.gains.get() {
            return Ok(gains);
        }
        let gains = plane_gains(&self.spec, self.height, self.width)?;
        Ok(self.gains.get_or_init(|| gains))
    }

    /// The transform of images `[B, C, H, W]`.
    ///
    /// # Errors
    /// When the images have another size, belong to another queue, or memory runs out.
    pub fn decompose<'a>(&self, x: impl Into<TensorView<'a, B, T, 4>>) -> Result<Coeffs<B, T>> {
        let x = x.into();
        self.check("image", x.shape(), None)?;
        let mut out = self.coeffs(x.shape()[0], x.shape()[1])?;
        self.decompose_into(x, &mut out)?;
        Ok(out)
    }

    /// Coefficients of this plan for `batch` images of `channels`, with unspecified contents.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn coeffs(&self, batch: usize, channels: usize) -> Result<Coeffs<B, T>> {
        Coeffs::scratch(&self.b, [batch, channels, self.height, self.width], Arc::clone(&self.planes))
    }

    /// As [`decompose`](Self::decompose), into coefficients that exist already, such as those of
    /// [`coeffs`](Self::coeffs).
    ///
    /// # Errors
    /// When shapes do not belong together, something belongs to another queue, or memory runs out.
    pub fn decompose_into<'a>(&self, x: impl Into<TensorView<'a, B, T, 4>>, out: &mut Coeffs<B, T>) -> Result<()> {
        let x = x.into();
        let [n, c, ..] = x.shape();
        self.check("image", x.shape(), None)?;
        self.check_coeffs(out, [n, c])?;
        self.forward(n * c, x.flat(), out.tensor_mut().flat_mut())
    }

    /// The images `[B, C, H, W]` of coefficients. Inverts [`decompose`](Self::decompose) for every filter.
    ///
    /// # Errors
    /// When the coefficients are for another plan or queue, or memory runs out.
    pub fn reconstruct(&self, coeffs: &Coeffs<B, T>) -> Result<Tensor<B, T, 4>> {
        self.backward(coeffs, Side::Synthesis)
    }

    /// As [`reconstruct`](Self::reconstruct), into images that exist already.
    ///
    /// # Errors
    /// When shapes do not belong together, something belongs to another queue, or memory runs out.
    pub fn reconstruct_into<'a>(
        &self,
        coeffs: &Coeffs<B, T>,
        out: impl Into<TensorViewMut<'a, B, T, 4>>,
    ) -> Result<()> {
        self.backward_into(coeffs, out.into(), Side::Synthesis)
    }

    /// The adjoint of [`decompose`](Self::decompose): `<decompose(x), y> = <x, adjoint(y)>`. It turns the gradient of a
    /// loss in the coefficients into its gradient in the image.
    ///
    /// # Errors
    /// As [`reconstruct`](Self::reconstruct).
    pub fn adjoint(&self, coeffs: &Coeffs<B, T>) -> Result<Tensor<B, T, 4>> {
        self.backward(coeffs, Side::Analysis)
    }

    /// As [`adjoint`](Self::adjoint), into images that exist already.
    ///
    /// # Errors
    /// As [`reconstruct_into`](Self::reconstruct_into).
    pub fn adjoint_into<'a>(&self, coeffs: &Coeffs<B, T>, out: impl Into<TensorViewMut<'a, B, T, 4>>) -> Result<()> {
        self.backward_into(coeffs, out.into(), Side::Analysis)
    }

    /// The transform of images on the host, in parts that fit the device's memory limit. The array may have any strides:
    /// one that is not in row-major order is copied first. Bits are those of [`decompose`](Self::decompose).
    ///
    /// # Errors
    /// When the images have another size, or a single plane does not fit.
    pub fn decompose_array(&self, x: ArrayView4<'_, T>) -> Result<Array5<T>> {
        let (n, c, h, w) = x.dim();
        self.check("image", [n, c, h, w], None)?;
        let mut out = Array5::from_elem((n, c, self.planes.len(), h, w), T::of(0.0));
        let dense = x.as_standard_layout();
        let (area, total) = (h * w, h * w * self.planes.len());
        self.in_parts(n * c, dense.as_slice(), out.as_slice_mut(), [area, total], |part, x, y| {
            self.forward(part, x, y)
        })?;
        Ok(out)
    }

    /// The images of coefficients `[B, C, S, H, W]` on the host, in parts that fit the device's memory limit. The array may
    /// have any strides.
    ///
    /// # Errors
    /// When the coefficients are for another plan, or a single image does not fit.
    pub fn reconstruct_array(&self, coeffs: ArrayView5<'_, T>) -> Result<Array4<T>> {
        let (n, c, s, h, w) = coeffs.dim();
        self.check_shape([n, c], [n, c, s, h, w])?;
        let mut out = Array4::from_elem((n, c, h, w), T::of(0.0));
        let dense = coeffs.as_standard_layout();
        let (area, total) = (h * w, h * w * self.planes.len());
        self.in_parts(n * c, dense.as_slice(), out.as_slice_mut(), [total, area], |part, x, y| {
            self.inverse(part, Side::Synthesis, x, y)
        })?;
        Ok(out)
    }

    /// Runs `f` on parts of host arrays with `[from, to]` elements an item.
    fn in_parts(
        &self,
        items: usize,
        x: Option<&[T]>,
        y: Option<&mut [T]>,
        [from, to]: [usize; 2],
        f: impl Fn(usize, View<'_, B, T>, ViewMut<'_, B, T>) -> Result<()>,
    ) -> Result<()> {
        let (Some(x), Some(y)) = (x, y) else {
            return Err(Error::value("array", "not in row-major order"));
        };
        if items == 0 {
            return Ok(());
        }
        let part = self.images_at_once(items, 1 + self.planes.len())?;
        let mut from_part = Tensor::<B, T, 2>::scratch(&self.b, [part, from])?;
        let mut to_part = Tensor::<B, T, 2>::scratch(&self.b, [part, to])?;
        for (x, y) in x.chunks(part * from).zip(y.chunks_mut(part * to)) {
            let n = x.len() / from;
            self.b.upload(x, from_part.slab_mut(0..n)?.flat())?;
            f(n, from_part.slab(0..n)?.flat(), to_part.slab_mut(0..n)?.flat())?;
            self.b.download(to_part.slab(0..n)?.flat(), y)?;
        }
        Ok(())
    }

    fn check(&self, what: &'static str, got: [usize; 4], leading: Option<[usize; 2]>) -> Result<()> {
        let [n, c] = leading.unwrap_or([got[0], got[1]]);
        let expected = [n, c, self.height, self.width];
        if got == expected {
            return Ok(());
        }
        Err(Error::ShapeMismatch { what, expected: expected.to_vec(), got: got.to_vec() })
    }

    fn check_shape(&self, [n, c]: [usize; 2], got: [usize; 5]) -> Result<()> {
        let expected = [n, c, self.planes.len(), self.height, self.width];
        if got == expected {
            return Ok(());
        }
        Err(Error::ShapeMismatch { what: "coefficients", expected: expected.to_vec(), got: got.to_vec() })
    }

    fn check_coeffs(&self, coeffs: &Coeffs<B, T>, leading: [usize; 2]) -> Result<()> {
        self.check_shape(leading, coeffs.shape())?;
        // Levels [1, 2] and [2, 1] have equally many planes with another meaning.
        if !Arc::ptr_eq(coeffs.plane_list(), &self.planes) && coeffs.planes() != &*self.planes {
            return Err(Error::value("coefficients", format!("made for other levels than {:?}", self.spec.levels)));
        }
        Ok(())
    }

    fn backward(&self, coeffs: &Coeffs<B, T>, side: Side) -> Result<Tensor<B, T, 4>> {
        let [n, c, ..] = coeffs.shape();
        self.check_coeffs(coeffs, [n, c])?;
        let mut out = Tensor::scratch(&self.b, [n, c, self.height, self.width])?;
        self.backward_into(coeffs, out.view_mut(), side)?;
        Ok(out)
    }

    fn backward_into(&self, coeffs: &Coeffs<B, T>, out: TensorViewMut<'_, B, T, 4>, side: Side) -> Result<()> {
        let [n, c, ..] = coeffs.shape();
        self.check_coeffs(coeffs, [n, c])?;
        self.check("image", out.shape(), Some([n, c]))?;
        self.inverse(n * c, side, coeffs.tensor().flat(), out.flat())
    }

    fn forward(&self, items: usize, x: View<'_, B, T>, mut out: ViewMut<'_, B, T>) -> Result<()> {
        let area = self.height * self.width;
        let total = area * self.planes.len();
        self.with_workspace(items, |memory, part| {
            let x = x.slice(part.start * area..part.end * area)?;
            let out = out.reborrow().slice(part.start * total..part.end * total)?;
            let (b, n) = (&self.b, part.len());
            match (&self.run, memory) {
                (Run::Direct(direct), Memory::Direct(work)) => direct.decompose(b, work, n, x, out),
                (Run::Spectral(spectral), Memory::Spectral(work)) => spectral.decompose(b, work, n, x, out),
                (Run::Dense(dense), Memory::Dense(work)) => dense.decompose(b, work, n, x, out),
                _ => unreachable!("a plan makes the workspace of its own engine"),
            }
        })
    }

    fn inverse(&self, items: usize, side: Side, x: View<'_, B, T>, mut out: ViewMut<'_, B, T>) -> Result<()> {
        let area = self.height * self.width;
        let total = area * self.planes.len();
        self.with_workspace(items, |memory, part| {
            let x = x.slice(part.start * total..part.end * total)?;
            let out = out.reborrow().slice(part.start * area..part.end * area)?;
            let (b, n) = (&self.b, part.len());
            match (&self.run, memory) {
                (Run::Direct(direct), Memory::Direct(work)) => direct.reconstruct(b, work, n, side, x, out),
                (Run::Spectral(spectral), Memory::Spectral(work)) => spectral.reconstruct(b, work, n, side, x, out),
                (Run::Dense(dense), Memory::Dense(work)) => dense.reconstruct(b, work, n, side, x, out),
                _ => unreachable!("a plan makes the workspace of its own engine"),
            }
        })
    }

    /// Planes that the engine takes at once when memory is no concern.
    fn together(&self) -> usize {
        match &self.run {
            Run::Direct(_) | Run::Dense(_) => self.b.together(self.height * self.width),
            Run::Spectral(spectral) => spectral.together(),
        }
    }

    fn with_workspace(
        &self,
        items: usize,
        mut f: impl FnMut(&mut Memory<B, T>, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        if items == 0 {
            return Ok(());
        }
        let mut workspace = self.take(items)?;
        let part = workspace.count.min(self.together());
        let result =
            (0..items).step_by(part).try_for_each(|start| f(&mut workspace.memory, start..items.min(start + part)));
        self.put(workspace);
        result
    }

    /// The idle workspace, or a larger one where it is too small and memory allows.
    fn take(&self, items: usize) -> Result<Workspace<B, T>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let wanted = items.min(self.together()).max(1);
        let have = idle.as_ref().map_or(0, |w| w.count);
        if have >= wanted
            && let Some(idle) = idle
        {
            return Ok(idle);
        }
        let bytes = |count: usize| self.workspace_bytes(count);
        let fits = match self.budget {
            Some(budget) => batch_within(&bytes, wanted, budget),
            None => batch_size(&self.b, &bytes, wanted),
        };
        // A capture allows no allocation, and memory may be taken by others: smaller parts give the same bits.
        match (fits.map_err(Error::from).and_then(|count| self.allocate(count)), idle) {
            (Ok(new), Some(idle)) if new.count <= idle.count => Ok(idle),
            (Ok(new), _) => Ok(new),
            (Err(_), Some(idle)) => Ok(idle),
            (Err(e), None) => Err(e),
        }
    }

    fn allocate(&self, count: usize) -> Result<Workspace<B, T>> {
        let memory = match &self.run {
            Run::Direct(direct) => Memory::Direct(direct.workspace(&self.b, count)?),
            Run::Spectral(spectral) => Memory::Spectral(spectral.workspace(&self.b, count)?),
            Run::Dense(dense) => Memory::Dense(dense.workspace(&self.b, count)?),
        };
        Ok(Workspace { count, memory })
    }

    fn put(&self, workspace: Workspace<B, T>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.as_ref().is_none_or(|w| w.count < workspace.count) {
            *idle = Some(workspace);
        }
    }
}

impl<B: NsctBackend<T>, T: Real> Footprint for NsctPlan<B, T> {
    /// Bytes of `items` planes with their coefficients and the workspace.
    fn bytes(&self, items: usize) -> usize {
        let plane = self.height * self.width * size_of::<T>();
        items.saturating_mul(plane).saturating_mul(1 + self.planes.len()).saturating_add(self.workspace_bytes(items))
    }
}

impl<B: NsctBackend<T>, T: Real> Run<B, T> {
    /// The engine that the specification asks for or that suits it, with its tables.
    fn new(b: &B, spec: &NsctSpec, height: usize, width: usize) -> Result<(Engine, Self)> {
        let make = |engine: Engine| -> Result<(Engine, Self)> {
            let run = match engine {
                Engine::Spectral => Self::Spectral(SpectralEngine::new(b, spec, height, width)?),
                Engine::DenseReference => Self::Dense(DenseEngine::new(b, spec, height, width)?),
                _ => Self::Direct(Direct::new(b, spec, engine, height, width)?),
            };
            Ok((engine, run))
        };
        if spec.engine != Engine::Auto {
            return make(spec.engine);
        }
        match FourierPlan::<B, T>::new(b, height, width) {
            Ok(plan) => make(auto::engine(spec, plan.plane_cost())?),
            // A device without a library of Fourier transforms.
            Err(gpu_core::Error::Unsupported { what, device }) => {
                let direct = auto::direct(spec);
                tracing::debug!(what, device, ?direct, "the spectral engine is not available");
                make(direct)
            }
            Err(e) => Err(e.into()),
        }
    }
}
