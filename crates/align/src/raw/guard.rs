//! What a header claims, read before a decoder sees the file: the usual damage is told quickly and in words.
//!
//! The decoder takes memory for as much as a header says: a wrong count, and the process aborts, which nothing can
//! catch; directories that point to each other keep it busy for ever. This walk takes no memory that the file does not
//! pay for, and refuses such files. It knows TIFF with its kin (DNG, CR2, NEF, ARW, ORF, RW2, …), RAF, the boxes of CR3 and
//! the blocks of MRW; the sizes in other formats are 16-bit numbers, or the format is not supported. Makers' notes are not
//! walked: some are no directories, and some are encrypted. [`ApartReader`](super::ApartReader) is for those.

use std::collections::BTreeSet;

use crate::Limits;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TIFF or one of its kin that holds a sensor's data, or may.
    Tiff,
    /// A TIFF file with three channels and no sign of a camera's data.
    RgbTiff,
    /// Fujifilm's container.
    Raf,
    /// Canon's older container.
    Ciff,
    /// Canon's newer container, boxes as in MP4.
    Boxes,
    /// Minolta's container.
    Mrw,
    /// PNG, JPEG, WebP, PNM.
    Picture,
    /// Something else.
    Unknown,
}

/// What the walk found.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Rows and columns of the largest picture inside.
    pub(super) largest: Option<[u64; 2]>,
    /// Whether there are interpolated colours and no mosaic.
    pub(super) linear: bool,
}

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More pixels than allowed.
    TooLarge(String),
    /// The header cannot be right.
    Damaged(String),
}

/// Directories that a file may have.
const MOST_DIRECTORIES: usize = 512;

/// The name of Canon's box of directories.
const CANON: [u8; 16] =
    [0x85, 0xc0, 0xb6, 0x87, 0x82, 0x0f, 0x11, 0xe0, 0x81, 0x11, 0xf4, 0xce, 0x46, 0x2b, 0x6a, 0x48];

/// Reads a header.
pub(super) fn inspect(bytes: &[u8], limits: &Limits) -> Result<Header, Refusal> {
    let mut walk = Walk {
        bytes,
        limits,
        seen: BTreeSet::new(),
        largest: None,
        camera: false,
        rgb: false,
        linear: false,
        mosaic: false,
    };
    let kind = match bytes {
        [b'I', b'I', 0x1a, 0, 0, 0, b'H', b'E', ..] => Kind::Ciff,
        [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', ..] => {
            walk.raf()?;
            Kind::Raf
        }
        [b'I', b'I', ..] | [b'M', b'M', 0 | b'O', ..] => {
            walk.tiff(0)?;
            if walk.rgb && !walk.camera { Kind::RgbTiff } else { Kind::Tiff }
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            walk.boxes(0, bytes.len(), 0)?;
            Kind::Boxes
        }
        [0, b'M', b'R', b'M', ..] => {
            walk.blocks()?;
            Kind::Mrw
        }
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'P', b'1'..=b'7', b'\n' | b' ' | b'\r', ..] => {
            Kind::Picture
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::Picture,
        _ => Kind::Unknown,
    };
    Ok(Header { kind, largest: walk.largest, linear: walk.linear && !walk.mosaic })
}

// Each flag is a fact of the file, in any combination.
#[allow(clippy::struct_excessive_bools)]
struct Walk<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    seen: BTreeSet<usize>,
    largest: Option<[u64; 2]>,
    camera: bool,
    rgb: bool,
    linear: bool,
    mosaic: bool,
}

/// Order of bytes.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

fn damaged<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Damaged(why.into()))
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    }
}

/// The tags of one directory that say how large a picture is.
#[derive(Default)]
struct Sizes {
    width: u64,
    height: u64,
    samples: u64,
    tile: [u64; 2],
    full: [u64; 2],
    photometric: Option<u64>,
    reduced: bool,
}

impl Walk<'_> {
    /// Notes a picture and compares it with the limit.
    fn picture(&mut self, height: u64, width: u64, samples: u64) -> Result<(), Refusal> {
        let pixels = height.saturating_mul(width);
        let values = pixels.saturating_mul(samples.max(1));
        if pixels > self.limits.pixels || values > self.limits.pixels.saturating_mul(4) || samples > 64 {
            return Err(Refusal::TooLarge(format!("a picture of {width} x {height} pixels with {samples} samples")));
        }
        if self.largest.is_none_or(|[h, w]| h * w < pixels) {
            self.largest = Some([height, width]);
        }
        Ok(())
    }

    /// A TIFF header at `base`, and all directories that can be reached from it.
    fn tiff(&mut self, base: usize) -> Result<(), Refusal> {
        let Some(head) = self.bytes.get(base..base + 8) else { return damaged("the header is cut short") };
        let order = Order { big: head[0] == b'M' };
        let mut next = order.u32(head, 4).unwrap_or(0) as usize;
        let mut chain = 0;
        while next != 0 {
            chain += 1;
            next = self.directory(order, base, next, 0)?;
            if chain > MOST_DIRECTORIES {
                return damaged(format!("more than {MOST_DIRECTORIES} directories"));
            }
        }
        Ok(())
    }

    /// One directory; returns where the next one is.
    fn directory(&mut self, order: Order, base: usize, at: usize, depth: usize) -> Result<usize, Refusal> {
        let start = base.saturating_add(at);
        if depth > 4 || self.seen.len() > MOST_DIRECTORIES {
            return damaged("directories lie too deep inside each other");
        }
        if !self.seen.insert(start) {
            return damaged(format!("the directory at byte {start} is part of a circle"));
        }
        let Some(entries) = order.u16(self.bytes, start) else { return Ok(0) };
        let mut sizes = Sizes::default();
        let mut inside = Vec::new();
        for i in 0..usize::from(entries) {
            let entry = start + 2 + 12 * i;
            let (Some(tag), Some(kind), Some(count)) =
                (order.u16(self.bytes, entry), order.u16(self.bytes, entry + 2), order.u32(self.bytes, entry + 4))
            else {
                return Ok(0);
            };
            let size: u64 = match kind {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 | 16..=18 => 8,
                _ => 1,
            };
            let bytes = u64::from(count) * size;
            if bytes > self.bytes.len() as u64 {
                return damaged(format!("tag {tag} claims {bytes} bytes in a file of {}", self.bytes.len()));
            }
            let place = if bytes <= 4 {
                entry + 8
            } else {
                base.saturating_add(order.u32(self.bytes, entry + 8).unwrap_or(u32::MAX) as usize)
            };
            let value = |i: usize| match kind {
                3 => order.u16(self.bytes, place.saturating_add(2 * i)).map(u64::from),
                4 | 13 => order.u32(self.bytes, place.saturating_add(4 * i)).map(u64::from),
                1 | 7 => self.bytes.get(place.saturating_add(i)).copied().map(u64::from),
                _ => None,
            };
            let first = if count > 0 { value(0).unwrap_or(0) } else { 0 };
            match tag {
                254 => sizes.reduced = first & 1 == 1,
                256 => sizes.width = first,
                257 => sizes.height = first,
                262 => sizes.photometric = Some(first),
                277 => sizes.samples = first,
                322 => sizes.tile[1] = first,
                323 => sizes.tile[0] = first,
                // Fujifilm's full size.
                0xf001 => sizes.full[1] = first,
                0xf002 => sizes.full[0] = first,
                // DNG version, colour filter arrays.
                0xc612 | 33421 | 33422 => self.camera = true,
                // SubIFDs, Exif, GPS, interoperability, Fujifilm's directory.
                330 | 34665 | 34853 | 40965 | 0xf000 => {
                    inside.extend((0..count.min(64) as usize).filter_map(value).map(|v| v as usize));
                }
                _ => {}
            }
        }
        self.check(&sizes)?;
        for at in inside {
            if at != 0 && base.saturating_add(at) < self.bytes.len() {
                self.directory(order, base, at, depth + 1)?;
            }
        }
        Ok(order.u32(self.bytes, start + 2 + 12 * usize::from(entries)).unwrap_or(0) as usize)
    }

    fn check(&mut self, sizes: &Sizes) -> Result<(), Refusal> {
        let samples = sizes.samples.max(1);
        if sizes.width > 0 || sizes.height > 0 {
            self.picture(sizes.height, sizes.width, samples)?;
        }
        if sizes.full != [0, 0] {
            self.picture(sizes.full[0], sizes.full[1], 1)?;
        }
        let tile = sizes.tile[0].saturating_mul(sizes.tile[1]);
        // Tiles are padded at the ends of a picture, not made for another one.
        let area = sizes.height.saturating_mul(sizes.width);
        if tile > area.saturating_mul(4).saturating_add(1 << 22) || tile > self.limits.pixels {
            let [h, w] = sizes.tile;
            return damaged(format!("tiles of {w} x {h} for a picture of {} x {}", sizes.width, sizes.height));
        }
        if !sizes.reduced && sizes.photometric == Some(2) && samples >= 3 {
            self.rgb = true;
        }
        match sizes.photometric {
            Some(32803) => (self.camera, self.mosaic) = (true, true),
            Some(34892) => (self.camera, self.linear) = (true, self.linear || !sizes.reduced),
            _ => {}
        }
        Ok(())
    }

    /// Fujifilm's header: a directory of its own with the size, and a TIFF structure with the data.
    fn raf(&mut self) -> Result<(), Refusal> {
        let order = Order { big: true };
        let at = |i: usize| order.u32(self.bytes, i).map(|v| v as usize);
        let (Some(directory), Some(data)) = (at(92), at(100)) else { return damaged("the header is cut short") };
        let mut entry = directory.saturating_add(4);
        for _ in 0..order.u32(self.bytes, directory).unwrap_or(0).min(4096) {
            let (Some(tag), Some(length)) = (order.u16(self.bytes, entry), order.u16(self.bytes, entry + 2)) else {
                break;
            };
            if tag == 0x100
                && let (Some(h), Some(w)) = (order.u16(self.bytes, entry + 4), order.u16(self.bytes, entry + 6))
            {
                self.picture(h.into(), w.into(), 1)?;
            }
            entry += 4 + usize::from(length);
        }
        // The preview's Exif block is read, too, 12 bytes behind the preview's start.
        let preview = at(84).map_or(data, |start| start.saturating_add(12));
        for structure in [data, preview] {
            if matches!(self.bytes.get(structure..structure.saturating_add(2)), Some(b"II" | b"MM")) {
                self.tiff(structure)?;
            }
        }
        Ok(())
    }

    /// Boxes of an MP4-like file between two places.
    fn boxes(&mut self, start: usize, end: usize, depth: usize) -> Result<(), Refusal> {
        let order = Order { big: true };
        let (mut at, mut count) = (start, 0);
        while at + 8 <= end {
            count += 1;
            let (Some(size), Some(name)) = (order.u32(self.bytes, at), self.bytes.get(at + 4..at + 8)) else {
                break;
            };
            let (size, head) = match size {
                0 => (end - at, 8),
                1 => {
                    let high = order.u32(self.bytes, at + 8).unwrap_or(u32::MAX) as usize;
                    let low = order.u32(self.bytes, at + 12).unwrap_or(u32::MAX) as usize;
                    (high.saturating_mul(1 << 32).saturating_add(low), 16)
                }
                size => (size as usize, 8),
            };
            if size < head || size > end - at || count > 4096 || depth > 8 {
                return damaged(format!("the box at byte {at} does not fit into its place"));
            }
            let inside = at + head..at + size;
            match name {
                b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" => self.boxes(inside.start, inside.end, depth + 1)?,
                // Canon's box of directories, each a TIFF structure.
                b"uuid" if self.bytes[inside.clone()].starts_with(&CANON) => {
                    self.boxes(inside.start + CANON.len(), inside.end, depth + 1)?;
                }
                b"CMT1" | b"CMT2" | b"CMT3" | b"CMT4"
                    if matches!(self.bytes.get(inside.start..inside.start + 2), Some(b"II" | b"MM")) =>
                {
                    self.tiff(inside.start)?;
                }
                b"co64" | b"stco" | b"stsc" | b"stts" | b"CTBO" => self.table(inside.start + 4, size)?,
                b"stsz" => self.table(inside.start + 8, size)?,
                b"stsd" => {
                    let found = self.bytes[inside.clone()].windows(4).position(|four| four == b"CMP1");
                    if let Some(place) = found {
                        let field = |i: usize| order.u32(self.bytes, inside.start + place + i).map(u64::from);
                        if let (Some(w), Some(h), Some(tw), Some(th)) = (field(12), field(16), field(20), field(24)) {
                            self.picture(h, w, 1)?;
                            self.picture(th, tw, 1)?;
                        }
                    }
                }
                _ => {}
            }
            at += size;
        }
        Ok(())
    }

    /// Minolta's blocks, one of which is a TIFF structure.
    fn blocks(&mut self) -> Result<(), Refusal> {
        let order = Order { big: true };
        let end = order.u32(self.bytes, 4).map_or(0, |n| (n as usize).saturating_add(8)).min(self.bytes.len());
        let mut at = 8;
        while at + 8 <= end {
            let (Some(name), Some(size)) = (self.bytes.get(at..at + 4), order.u32(self.bytes, at + 4)) else { break };
            if size as usize > end - at - 8 {
                return damaged(format!("the block at byte {at} does not fit into its place"));
            }
            if name == b"\0TTW" && size >= 8 {
                self.tiff(at + 8)?;
            }
            at += 8 + size as usize;
        }
        Ok(())
    }

    /// A table's number of entries, which take at least a byte each.
    fn table(&self, at: usize, size: usize) -> Result<(), Refusal> {
        let count = Order { big: true }.u32(self.bytes, at).unwrap_or(0) as usize;
        // The sizes of samples may be one number for all.
        if count > size.max(1 << 16) { damaged(format!("a table of {count} entries in {size} bytes")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little-endian TIFF header with one directory of `(tag, type, count, value)`.
    fn tiff(entries: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
        let mut out = b"II*\0\x08\0\0\0".to_vec();
        out.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            out.extend(tag.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(count.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        out.extend(next.to_le_bytes());
        out
    }

    #[test]
    fn sizes_are_read_and_limited() {
        let limits = Limits::default();
        let file = tiff(&[(256, 4, 1, 6000), (257, 4, 1, 4000), (262, 3, 1, 32803)], 0);
        let header = inspect(&file, &limits).unwrap();
        assert_eq!((header.kind, header.largest), (Kind::Tiff, Some([4000, 6000])));
        let huge = tiff(&[(256, 4, 1, 400_000), (257, 4, 1, 400_000)], 0);
        assert!(matches!(inspect(&huge, &limits), Err(Refusal::TooLarge(_))));
        let rgb = tiff(&[(256, 4, 1, 60), (257, 4, 1, 40), (262, 3, 1, 2), (277, 3, 1, 3)], 0);
        assert_eq!(inspect(&rgb, &limits).unwrap().kind, Kind::RgbTiff);
    }

    #[test]
    fn circles_and_lies_are_refused() {
        let limits = Limits::default();
        for bad in [
            tiff(&[(256, 4, 1, 60)], 8),
            tiff(&[(330, 4, 1, 8)], 0),
            tiff(&[(272, 2, 4_000_000_000, 8)], 0),
            tiff(&[(256, 4, 1, 60), (257, 4, 1, 40), (322, 4, 1, 60_000), (323, 4, 1, 40_000)], 0),
        ] {
            assert!(matches!(inspect(&bad, &limits), Err(Refusal::Damaged(_))), "{bad:?}");
        }
    }

    #[test]
    fn structures_inside_of_boxes_and_blocks_are_walked() {
        let sized = |name: &[u8], inside: &[u8]| {
            let size = (inside.len() as u32 + 8).to_be_bytes();
            [&size[..], name, inside].concat()
        };
        let canon = |directory: &[u8]| {
            let uuid = [&CANON[..], &sized(b"CMT3", directory)].concat();
            [sized(b"ftyp", b"crx \0\0\0\x01crx isom"), sized(b"moov", &sized(b"uuid", &uuid))].concat()
        };
        let minolta = |directory: &[u8]| {
            let length = (directory.len() as u32).to_be_bytes();
            let block = [&b"\0TTW"[..], &length, directory].concat();
            [&b"\0MRM"[..], &(block.len() as u32).to_be_bytes(), &block].concat()
        };
        let good = tiff(&[(256, 4, 1, 60), (257, 4, 1, 40)], 0);
        let bad = tiff(&[(37500, 12, 400_000_000, 8)], 0);
        for file in [&canon as &dyn Fn(&[u8]) -> Vec<u8>, &minolta] {
            assert_eq!(inspect(&file(&good), &Limits::default()).unwrap().largest, Some([40, 60]));
            assert!(matches!(inspect(&file(&bad), &Limits::default()), Err(Refusal::Damaged(_))));
        }
        let mut cut = minolta(&good);
        cut[12] = 0xff;
        assert!(matches!(inspect(&cut, &Limits::default()), Err(Refusal::Damaged(_))));
    }

    #[test]
    fn no_bytes_and_few_bytes_are_survived() {
        let good = tiff(&[(256, 4, 1, 60), (257, 4, 1, 40)], 0);
        for n in 0..good.len() {
            let _ = inspect(&good[..n], &Limits::default());
        }
        for head in [&b"FUJIFILM"[..], b"\0\0\0\x08ftyp", b"II\x1a\0\0\0HE", b"MMOR"] {
            let _ = inspect(head, &Limits::default());
        }
    }
}
