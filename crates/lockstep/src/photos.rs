//! The bundled photographs (their sources and licences are in `photos/README.md`).

use std::path::Path;

use crate::exit::Result;
use crate::pictures::{Picture, decode};

/// A bundled photograph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Photo {
    pub(crate) name: &'static str,
    bytes: &'static [u8],
}

/// 512 × 512, gray.
pub(crate) const CAMERA: Photo = Photo { name: "camera.png", bytes: include_bytes!("../photos/camera.png") };
/// 451 × 300, colour.
pub(crate) const CHELSEA: Photo = Photo { name: "chelsea.png", bytes: include_bytes!("../photos/chelsea.png") };
/// 400 × 400, colour.
pub(crate) const COFFEE: Photo = Photo { name: "coffee.jpg", bytes: include_bytes!("../photos/coffee.jpg") };

impl Photo {
    /// The picture.
    pub(crate) fn open(self) -> Result<Picture> {
        decode(self.bytes, Path::new(self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_open() {
        assert_eq!(CAMERA.open().unwrap().shape, [1, 1, 512, 512]);
        assert_eq!(CHELSEA.open().unwrap().shape, [1, 3, 300, 451]);
        assert_eq!(COFFEE.open().unwrap().shape, [1, 3, 400, 400]);
    }
}
