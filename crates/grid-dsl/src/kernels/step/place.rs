//! Values of an arena from and to compact lists: `out[n] = arena[places[n]]`, and `arena[places[n]] = values[n]`.
//!
//! What the host reads after a step lies in many slots, and what it writes goes there: one copy a list in place of one a
//! slot. A value's place is `slot * samples + sample`.
//!
//! Floor: a head of 32 bytes, and with payloads 1,152 more, in and out once, and 4 for the place: 2,372 bytes a value. The
//! copy to or from the host takes ten times longer. Measured on an H200: 89 % of the rate of a copy for values that are taken,
//! 83 % for those that are put; of heads alone, a warp each, 5 %.

use gpu_core::{Backend, Cpu, Error, Result, Tensor, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::{Arena, HEAD, PAYLOAD};

/// What the kernels get by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct PlaceParams {
    /// Values.
    pub count: u32,
    /// Whether payloads are copied, too: 0 or 1.
    pub payloads: u32,
    /// Places that each value is written to, one behind the other.
    pub each: u32,
}

/// Heads and payloads of values.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "signatures of a public trait name it")]
pub type Words<'a, B> = (View<'a, B, i32>, View<'a, B, u32>);

/// Heads and payloads to be written.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "signatures of a public trait name it")]
pub type WordsMut<'a, B> = (ViewMut<'a, B, i32>, ViewMut<'a, B, u32>);

/// The operations on one backend.
pub trait Place: Backend {
    #[doc(hidden)]
    fn take_unchecked(
        &self,
        p: PlaceParams,
        places: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()>;

    #[doc(hidden)]
    fn put_unchecked(
        &self,
        p: PlaceParams,
        places: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()>;
}

/// Checks places, and how many values there are.
fn checked<B: Backend>(arena: &Arena<B>, places: &[u32]) -> Result<u32> {
    let [slots, samples] = arena.shape();
    let all = slots * samples;
    if let Some(place) = places.iter().find(|&&place| place as usize >= all) {
        return Err(Error::value("places", format!("{place}, the arena has {all}")));
    }
    u32::try_from(places.len())
        .map_err(|_| Error::value("places", format!("{} are more than one call takes", places.len())))
}

/// The words of values at some places: [`HEAD`] each, and [`PAYLOAD`] each where they are asked for.
///
/// # Errors
/// When there is no such place, or the device fails.
pub fn take<B: Place>(b: &B, arena: &Arena<B>, places: &[u32], payloads: bool) -> Result<(Vec<i32>, Vec<u32>)> {
    let (mut heads, mut words) = (Vec::new(), Vec::new());
    take_into(b, arena, places, &mut heads, payloads.then_some(&mut words))?;
    Ok((heads, words))
}

/// As [`take`], into memory that may have been used before: what it holds is replaced.
///
/// # Errors
/// As [`take`].
pub(super) fn take_into<B: Place>(
    b: &B,
    arena: &Arena<B>,
    places: &[u32],
    heads: &mut Vec<i32>,
    payloads: Option<&mut Vec<u32>>,
) -> Result<()> {
    let p = PlaceParams { count: checked(arena, places)?, payloads: payloads.is_some().into(), each: 1 };
    let rows = if payloads.is_some() { places.len() } else { 0 };
    heads.resize(places.len() * HEAD, 0);
    let mut none = Vec::new();
    let payloads = payloads.unwrap_or(&mut none);
    payloads.resize(rows * PAYLOAD, 0);
    if places.is_empty() {
        return Ok(());
    }
    let all = Tensor::from_slice(b, [places.len()], places)?;
    let mut head = Tensor::<B, i32, 2>::scratch(b, [places.len(), HEAD])?;
    let mut words = Tensor::<B, u32, 2>::scratch(b, [rows, PAYLOAD])?;
    let from = (arena.heads.flat(), arena.payloads.flat());
    b.take_unchecked(p, all.flat(), from, (head.flat_mut(), words.flat_mut()))?;
    b.download(head.flat(), heads)?;
    if rows > 0 { b.download(words.flat(), payloads) } else { Ok(()) }
}

/// Writes words to some places, each of which comes once; without `payloads` those of the places stay.
///
/// # Errors
/// When there is no such place or it comes twice, the words are not as many, or the device fails.
pub fn put<B: Place>(b: &B, arena: &mut Arena<B>, places: &[u32], heads: &[i32], payloads: &[u32]) -> Result<()> {
    put_each(b, arena, places, 1, (heads, payloads))
}

/// As [`put`], to all samples of some slots.
///
/// # Errors
/// As [`put`], of slots.
pub fn put_all<B: Place>(b: &B, arena: &mut Arena<B>, slots: &[u32], heads: &[i32], payloads: &[u32]) -> Result<()> {
    let [all, samples] = arena.shape();
    if let Some(slot) = slots.iter().find(|&&slot| slot as usize >= all) {
        return Err(Error::value("slots", format!("{slot}, the arena has {all}")));
    }
    if samples == 0 {
        return Ok(());
    }
    let places: Vec<u32> = slots.iter().map(|slot| slot * samples as u32).collect();
    put_each(b, arena, &places, samples as u32, (heads, payloads))
}

/// Writes each value to so many places from its own on.
fn put_each<B: Place>(
    b: &B,
    arena: &mut Arena<B>,
    places: &[u32],
    each: u32,
    (heads, payloads): (&[i32], &[u32]),
) -> Result<()> {
    let full = !payloads.is_empty();
    let p = PlaceParams { count: checked(arena, places)?, payloads: full.into(), each };
    let n = places.len();
    if heads.len() != n * HEAD || (full && payloads.len() != n * PAYLOAD) {
        return Err(Error::shape("values", &[n * HEAD, n * PAYLOAD], &[heads.len(), payloads.len()]));
    }
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    if let Some((twice, _)) = sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(Error::value("places", format!("{twice} comes twice")));
    }
    if n == 0 {
        return Ok(());
    }
    let all = Tensor::from_slice(b, [n], places)?;
    let heads = Tensor::from_slice(b, [n, HEAD], heads)?;
    let words = Tensor::from_slice(b, [if full { n } else { 0 }, PAYLOAD], payloads)?;
    let to = (arena.heads.flat_mut(), arena.payloads.flat_mut());
    b.put_unchecked(p, all.flat(), (heads.flat(), words.flat()), to)
}

impl Place for Cpu {
    fn take_unchecked(
        &self,
        p: PlaceParams,
        places: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let places = self.read(places)?;
        let (heads, payloads) = (self.read(from.0)?, self.read(from.1)?);
        let (out_heads, out_payloads) = (self.write(to.0)?, self.write(to.1)?);
        for (n, place) in places.iter().map(|&place| place as usize).enumerate() {
            out_heads[n * HEAD..][..HEAD].copy_from_slice(&heads[place * HEAD..][..HEAD]);
            if p.payloads != 0 {
                out_payloads[n * PAYLOAD..][..PAYLOAD].copy_from_slice(&payloads[place * PAYLOAD..][..PAYLOAD]);
            }
        }
        Ok(())
    }

    fn put_unchecked(
        &self,
        p: PlaceParams,
        places: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let places = self.read(places)?;
        let (heads, payloads) = (self.read(from.0)?, self.read(from.1)?);
        let (out_heads, out_payloads) = (self.write(to.0)?, self.write(to.1)?);
        let each = |&place: &u32| place as usize..(place + p.each) as usize;
        for (n, place) in places.iter().enumerate().flat_map(|(n, place)| each(place).map(move |place| (n, place))) {
            out_heads[place * HEAD..][..HEAD].copy_from_slice(&heads[n * HEAD..][..HEAD]);
            if p.payloads != 0 {
                out_payloads[place * PAYLOAD..][..PAYLOAD].copy_from_slice(&payloads[n * PAYLOAD..][..PAYLOAD]);
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Place for gpu_core::Cuda {
    fn take_unchecked(
        &self,
        p: PlaceParams,
        places: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_take")?;
        let launch = kernel.read(places)?.read(from.0)?.read(from.1)?.write(to.0)?.write(to.1)?.arg(p);
        let launch = launch.grid(crate::kernels::cuda::warps(p.count as usize)).block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_take(const uint* places, const int* heads, const uint* payloads, int* out_heads,
        // uint* out_payloads, PlaceParams p); `take` has checked that places are inside of the arena, and made room.
        unsafe { launch.launch() }
    }

    fn put_unchecked(
        &self,
        p: PlaceParams,
        places: View<'_, Self, u32>,
        from: Words<'_, Self>,
        to: WordsMut<'_, Self>,
    ) -> Result<()> {
        let kernel = self.kernel(&crate::kernels::cuda::KERNELS, "grid_put")?;
        let launch = kernel.read(places)?.read(from.0)?.read(from.1)?.write(to.0)?.write(to.1)?.arg(p);
        let launch = launch
            .grid(crate::kernels::cuda::warps(p.count as usize * p.each as usize))
            .block(crate::kernels::cuda::BLOCK);
        // SAFETY: void grid_put(const uint* places, const int* heads, const uint* payloads, int* out_heads,
        // uint* out_payloads, PlaceParams p); `put_each` has checked that places are inside of the arena, each once, `put_all`
        // that they are the first ones of slots, and that there are as many values.
        unsafe { launch.launch() }
    }
}
