//! A reader of the protobuf wire format over borrowed bytes.

use super::{Result, WeightsError};

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// An integer of any kind.
    Varint(u64),
    /// Eight bytes, which no field that is read here has.
    Fixed64,
    /// A string, a message or a packed list.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32([u8; 4]),
}

/// Walks over the fields of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first field of `message`.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Whether all is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field number and value, or none at the end.
    pub(crate) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.fixed::<8>()?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let split = usize::try_from(length).ok().and_then(|n| self.rest.split_at_checked(n));
                let Some((bytes, rest)) = split else {
                    let found = self.rest.len() as u64;
                    return Err(WeightsError::Truncated { what: "an ONNX message", expected: length, found });
                };
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(self.fixed()?),
            kind => return Err(WeightsError::malformed("ONNX", format!("unknown wire type {kind}"))),
        };
        Ok(Some((key >> 3, value)))
    }

    /// One variable-length integer.
    pub(crate) fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WeightsError::malformed("ONNX", "an integer of more than ten bytes"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(WeightsError::truncated("an ONNX field", N, self.rest.len()));
        };
        self.rest = rest;
        Ok(*bytes)
    }
}
