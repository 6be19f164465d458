//! Masks, compressed and written on other threads while the next pairs are compared.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::Array2;

use crate::exit::{Failure, Result};
use crate::pictures::encode_gray;

/// Writes masks of one scene, some at a time.
pub(crate) struct Masks {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Masks in memory that are not written.
    held: usize,
    failed: Option<Failure>,
    waited: Duration,
}

impl Masks {
    /// Holds `most` masks at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Runs `work`, which hands masks to [`write`](Self::write), until all of them are written; returns what it returns, and
    /// the seconds in which it waited for files.
    ///
    /// # Errors
    /// That of `work`, else the first of a file.
    pub(crate) fn during<'a, T>(&'a self, work: impl FnOnce(&rayon::Scope<'a>) -> Result<T>) -> Result<(T, f64)> {
        let mut ended = None;
        let done = rayon::in_place_scope(|scope| {
            let done = work(scope);
            ended = Some(Instant::now());
            done
        })?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = ended.map(|ended| ended.elapsed()).unwrap_or_default();
        match state.failed.take() {
            Some(failed) => Err(failed),
            None => Ok((done, (state.waited + last).as_secs_f64())),
        }
    }

    /// Writes a mask some time before [`during`](Self::during) ends; waits while too many are not written yet.
    pub(crate) fn write<'a>(&'a self, scope: &rayon::Scope<'a>, path: PathBuf, mask: Array2<u8>) {
        let begun = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.held >= self.most {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held += 1;
        state.waited += begun.elapsed();
        drop(state);
        scope.spawn(move |_| {
            let written = encode_gray(&mask).and_then(|png| crate::files::write(&path, &png));
            drop(mask);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.held -= 1;
            if let Err(e) = written {
                state.failed.get_or_insert(e);
            }
            drop(state);
            self.changed.notify_all();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn all_masks_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |i: usize| folder.path().join(format!("{i}.png"));
        let mask =
            |i: usize| Array2::from_shape_fn((40, 30 + i), |(y, x)| if (y + x) % (i + 2) == 0 { 0 } else { 255 });
        let masks = Masks::new(2);
        let (count, _) = masks
            .during(|scope| {
                (0..9).for_each(|i| masks.write(scope, path(i), mask(i)));
                Ok(9)
            })
            .unwrap();
        for i in 0..count {
            let read = image::open(path(i)).unwrap();
            let image::DynamicImage::ImageLuma8(gray) = read else { panic!("a mask has 8 bits a pixel") };
            assert_eq!(gray.into_raw(), mask(i).into_raw_vec_and_offset().0);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let masks = Masks::new(1);
        let lost = folder.path().join("no folder/a.png");
        let failed = masks.during(|scope| {
            masks.write(scope, lost.clone(), Array2::zeros((8, 8)));
            masks.write(scope, folder.path().join("b.png"), Array2::zeros((8, 8)));
            Ok(())
        });
        assert_eq!(failed.unwrap_err().exit, Exit::Io);
        assert!(folder.path().join("b.png").exists());
        let failed = masks.during(|_| Err::<(), _>(Failure::usage("no")));
        assert_eq!(failed.unwrap_err().exit, Exit::Usage);
    }
}
