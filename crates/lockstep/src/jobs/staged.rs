//! Folders where items are read, worked on and written at the same time: a device does not wait for files.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

use super::{Batch, Item, JobArgs, Journal, Outcome, Tally};
use crate::exit::{Exit, Failure, Result};
use crate::files::make_folder;
use crate::progress::Progress;
use crate::session::Session;

/// Threads that read, and as many that write, at most. Each holds an item.
const THREADS: usize = 4;

impl Batch {
    /// As [`run`](Batch::run), in three stages: `read` and `write` run on threads of their own for other items while
    /// `work` has some: up to `together`. They come to it in about their order; reports have them in their order.
    pub(crate) fn run_staged<R: Send, W: Send>(
        &self,
        session: &Session,
        args: &JobArgs,
        settings: &Value,
        together: usize,
        read: impl Fn(&Item) -> Result<R> + Sync,
        mut work: impl FnMut(Vec<(&Item, R)>) -> Vec<Result<W>>,
        write: impl Fn(&Item, W) -> Result<Outcome> + Sync,
    ) -> Result<Exit> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.items.len() > 1) else {
            return self.run(session, args, settings, |item| {
                let worked = work(vec![(item, read(item)?)]).pop();
                write(item, worked.unwrap_or_else(|| Err(Failure::usage("there is nothing to do")))?)
            });
        };
        let (shard, together) = (args.shard()?, together.max(1));
        make_folder(folder)?;
        self.sweep();
        let mut journal = Journal::open(folder)?;
        let mine: Vec<_> =
            self.items.iter().enumerate().filter(|(i, _)| shard.takes(*i)).map(|(_, item)| item).collect();
        let todo: Vec<_> = mine.iter().copied().filter(|item| !journal.need_not(item, settings, args)).collect();
        let progress = Progress::with_remark(session, mine.len(), self.what, self.remark.clone());
        let resumed = mine.len() - todo.len();
        progress.skip(resumed);
        crate::interrupt::listen();
        let start = Instant::now();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (to_work, from_readers) = sync_channel::<(usize, Instant, Result<R>)>(1);
        let (to_writers, from_work) = sync_channel::<(usize, Instant, W)>(1);
        let (to_end, ended) = channel::<(usize, Instant, Result<Outcome>)>();
        let from_work = Mutex::new(from_work);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        let mut settle = |(i, begun, outcome): (usize, Instant, Result<Outcome>)| -> Result<()> {
            match outcome {
                Ok(outcome) => {
                    journal.add(todo[i], settings, &outcome, begun.elapsed().as_secs_f64())?;
                    done.push((i, outcome.value));
                }
                Err(e) => failed.push((i, e.at(&todo[i].inputs[0]))),
            }
            progress.step();
            Ok(())
        };
        std::thread::scope(|scope| -> Result<()> {
            for _ in 0..threads {
                let to_work = to_work.clone();
                let (next, stop, todo, read) = (&next, &stop, &todo, &read);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) && !crate::interrupt::asked() {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = todo.get(i) else { break };
                        let begun = Instant::now();
                        if to_work.send((i, begun, read(item))).is_err() {
                            break;
                        }
                    }
                });
                let to_end = to_end.clone();
                let (from_work, write) = (&from_work, &write);
                scope.spawn(move || {
                    loop {
                        let got = from_work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((i, begun, worked)) = got else { break };
                        if to_end.send((i, begun, write(todo[i], worked))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop((to_work, to_end));
            let passed = (|| {
                let from_readers = from_readers;
                while let Ok(first) = from_readers.recv() {
                    let mut ready = Vec::new();
                    let mut which = Vec::new();
                    for (i, begun, read) in std::iter::once(first).chain(from_readers.iter().take(together - 1)) {
                        match read {
                            Ok(read) => {
                                ready.push((todo[i], read));
                                which.push((i, begun));
                            }
                            Err(e) => settle((i, begun, Err(e)))?,
                        }
                    }
                    if let Some((item, _)) = ready.first() {
                        progress.at(&item.name);
                    }
                    for ((i, begun), worked) in which.into_iter().zip(work(ready)) {
                        match worked {
                            Ok(worked) => {
                                if to_writers.send((i, begun, worked)).is_err() {
                                    return Ok(());
                                }
                            }
                            // Every later item would fail in the same way.
                            Err(e) if e.exit == Exit::Backend => return Err(e.at(&todo[i].inputs[0])),
                            Err(e) => settle((i, begun, Err(e)))?,
                        }
                    }
                    ended.try_iter().try_for_each(&mut settle)?;
                }
                Ok(())
            })();
            stop.store(passed.is_err(), Ordering::Relaxed);
            // What has been worked on is written in any case.
            drop(to_writers);
            ended.into_iter().map(&mut settle).fold(passed, Result::and)
        })?;
        drop(progress);
        done.sort_by_key(|(i, _)| *i);
        failed.sort_by_key(|(i, _)| *i);
        let left = todo.len() - done.len() - failed.len();
        let done = done.into_iter().map(|(_, value)| value).collect();
        let failed = failed.into_iter().map(|(i, e)| (todo[i], e)).collect();
        self.conclude(session, folder, shard, Tally { done, failed, resumed, left, items: mine.len(), start })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    fn batch(count: usize) -> (tempfile::TempDir, Batch) {
        let folder = tempfile::tempdir().unwrap();
        let item = |i: usize| {
            let input = folder.path().join(format!("{i}.png"));
            std::fs::write(&input, i.to_string()).unwrap();
            Item { name: format!("{i}.png"), output: folder.path().join(format!("out/{i}.txt")), inputs: vec![input] }
        };
        let items = (0..count).map(item).collect();
        let batch = Batch::of_items(items, Vec::new(), &folder.path().join("out")).unwrap();
        (folder, batch)
    }

    fn text(path: &PathBuf) -> Result<String> {
        std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e))
    }

    fn run(batch: &Batch, together: usize, fail: impl Fn(&str) -> Option<Exit>) -> (Result<Exit>, usize) {
        let session = Session { quiet: true, ..Session::default() };
        let mut worked = 0;
        let exit = batch.run_staged(
            &session,
            &JobArgs::default(),
            &Value::Null,
            together,
            |item| text(&item.inputs[0]),
            |group| {
                assert!(group.len() <= together);
                worked += group.len();
                let one = |(_, number): (&Item, String)| match fail(&number) {
                    Some(exit) => Err(Failure::new(exit, "no")),
                    None => Ok(number.repeat(2)),
                };
                group.into_iter().map(one).collect()
            },
            |item, number| {
                crate::files::write(&item.output, number.as_bytes())?;
                Ok(Outcome { files: vec![item.output.clone()], value: number.into() })
            },
        );
        (exit, worked)
    }

    #[test]
    fn every_item_goes_through_all_stages() {
        let (_folder, batch) = batch(23);
        std::fs::remove_file(&batch.items[7].inputs[0]).unwrap();
        let (exit, worked) = run(&batch, 5, |number| (number == "11").then_some(Exit::Usage));
        assert_eq!((exit.unwrap(), worked), (Exit::Partial, 22));
        for (i, item) in batch.items.iter().enumerate() {
            let wanted = (i != 7 && i != 11).then(|| i.to_string().repeat(2));
            assert_eq!(text(&item.output).ok(), wanted, "{i}");
        }
        // What is done is not done again.
        std::fs::write(&batch.items[7].inputs[0], "7").unwrap();
        let (exit, worked) = run(&batch, 1, |_| None);
        assert_eq!((exit.unwrap(), worked), (Exit::Ok, 2));
    }

    #[test]
    fn a_lost_device_ends_the_run() {
        let (_folder, batch) = batch(40);
        let (exit, worked) = run(&batch, 3, |number| (number == "3").then_some(Exit::Backend));
        assert_eq!(exit.unwrap_err().exit, Exit::Backend);
        assert!(worked < 40);
    }
}
