//! Values of many samples side by side, and why one is not there.

use gpu_core::{Backend, Error, Result, Tensor};
use rayon::prelude::*;

use super::{HEAD, PAYLOAD, Slot};

/// Why a value is not on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Spill {
    /// An operand is of a kind for which the operation has no form on the device.
    Kind = 1,
    /// A result is larger than a device's values, or further away than they may be.
    Size = 2,
    /// An odd value, such as an object with two colours on one location, or one of the few errors that the host names.
    Class = 3,
    /// An operand is on the host.
    Operand = 4,
    /// The function is evaluated on the host always.
    Function = 5,
}

impl Spill {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Kind, Self::Size, Self::Class, Self::Operand, Self::Function];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind of operand",
            Self::Size => "larger than the device's values",
            Self::Class => "error or odd value",
            Self::Operand => "operand on the host",
            Self::Function => "function of the host",
        }
    }

    pub(crate) fn of(code: i32) -> Self {
        Self::ALL.into_iter().find(|why| *why as i32 == code).unwrap_or(Self::Function)
    }
}

/// Values of many samples in the memory of a device.
#[derive(Debug)]
pub struct Arena<B: Backend> {
    /// `[slots, samples, HEAD]`
    pub(crate) heads: Tensor<B, i32, 3>,
    /// `[slots, samples, PAYLOAD]`
    pub(crate) payloads: Tensor<B, u32, 3>,
}

impl<B: Backend> Arena<B> {
    /// Room for some slots of a number of samples; all values are spilled.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn new(b: &B, slots: usize, samples: usize) -> Result<Self> {
        Ok(Self {
            heads: Tensor::zeros(b, [slots, samples, HEAD])?,
            payloads: Tensor::zeros(b, [slots, samples, PAYLOAD])?,
        })
    }

    /// An arena with these values: slot by slot one a sample.
    ///
    /// # Errors
    /// When they are not as many for each slot, or the device has no room for them.
    pub fn of(b: &B, samples: usize, values: &[Slot]) -> Result<Self> {
        let slots = values.len() / samples.max(1);
        if slots * samples != values.len() {
            return Err(Error::shape("values", &[slots, samples], &[values.len()]));
        }
        let words: Vec<_> = values.par_iter().map(Slot::words).collect();
        let heads: Vec<i32> = words.iter().flat_map(|(head, _)| *head).collect();
        let payloads: Vec<u32> = words.iter().flat_map(|(_, payload)| *payload).collect();
        Ok(Self {
            heads: Tensor::from_slice(b, [slots, samples, HEAD], &heads)?,
            payloads: Tensor::from_slice(b, [slots, samples, PAYLOAD], &payloads)?,
        })
    }

    /// All values: slot by slot one a sample.
    ///
    /// # Errors
    /// When the device fails.
    pub fn to_slots(&self, b: &B) -> Result<Vec<Slot>> {
        let (heads, payloads) = (self.heads.to_vec(b)?, self.payloads.to_vec(b)?);
        let words = heads.par_chunks_exact(HEAD).zip(payloads.par_chunks_exact(PAYLOAD));
        Ok(words.map(|(head, payload)| Slot::of_words(head, payload)).collect())
    }

    /// Heads and payloads as they are: slot by slot one a sample.
    ///
    /// # Errors
    /// When the device fails.
    pub fn words(&self, b: &B) -> Result<(Vec<i32>, Vec<u32>)> {
        Ok((self.heads.to_vec(b)?, self.payloads.to_vec(b)?))
    }

    /// Bytes that a slot takes a sample.
    pub const fn bytes() -> usize {
        4 * (HEAD + PAYLOAD)
    }

    /// Slots and samples.
    pub fn shape(&self) -> [usize; 2] {
        let [slots, samples, _] = self.heads.shape();
        [slots, samples]
    }

    /// Copies the values of a slot to the device, one a sample.
    ///
    /// # Errors
    /// When there is not one value a sample, or the slot does not exist.
    pub fn write(&mut self, b: &B, slot: usize, values: &[Slot]) -> Result<()> {
        let [_, samples] = self.shape();
        if values.len() != samples {
            return Err(Error::shape("values", &[samples], &[values.len()]));
        }
        let (mut heads, mut payloads) = (Vec::new(), Vec::new());
        for value in values {
            let (head, payload) = value.words();
            heads.extend(head);
            payloads.extend_from_slice(&payload);
        }
        b.upload(&heads, self.heads.slab_mut(slot..slot + 1)?.flat())?;
        b.upload(&payloads, self.payloads.slab_mut(slot..slot + 1)?.flat())
    }

    /// The heads of a slot, `[samples, HEAD]`.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn heads(&self, b: &B, slot: usize) -> Result<Vec<i32>> {
        let view = self.heads.slab(slot..slot + 1)?.flat();
        let mut out = vec![0; view.len()];
        b.download(view, &mut out)?;
        Ok(out)
    }

    /// The values of a slot, one a sample.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn read(&self, b: &B, slot: usize) -> Result<Vec<Slot>> {
        let heads = self.heads(b, slot)?;
        let view = self.payloads.slab(slot..slot + 1)?.flat();
        let mut payloads = vec![0; view.len()];
        b.download(view, &mut payloads)?;
        Ok(heads.chunks_exact(HEAD).zip(payloads.chunks_exact(PAYLOAD)).map(|(h, p)| Slot::of_words(h, p)).collect())
    }
}
