//! Rows of numbers in scratch files, for what has no room in memory.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gpu_core::Elem;

/// Rows in a file that goes away with it.
#[derive(Debug)]
pub(crate) struct Spill<T: Elem> {
    file: File,
    path: PathBuf,
    /// Numbers of a row.
    row: usize,
    element: PhantomData<T>,
}

impl<T: Elem> Spill<T> {
    /// A file in a folder, for rows of so many numbers.
    pub(crate) fn new(folder: &Path, row: usize) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("lockstep-strips-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, row, element: PhantomData })
    }

    fn seek(&mut self, row: usize) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(row as u64 * self.row as u64 * size_of::<T>() as u64))
    }

    /// Writes rows, the first of which is the `first`-th.
    pub(crate) fn write(&mut self, first: usize, rows: &[T]) -> io::Result<()> {
        self.seek(first)?;
        self.file.write_all(bytemuck::cast_slice(rows))
    }

    /// Reads rows; `to` becomes as long as they are.
    pub(crate) fn read(&mut self, rows: Range<usize>, to: &mut Vec<T>) -> io::Result<()> {
        self.seek(rows.start)?;
        to.resize(rows.len() * self.row, T::zeroed());
        self.file.read_exact(bytemuck::cast_slice_mut(to))
    }
}

impl<T: Elem> Drop for Spill<T> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
