//! Single operations on many grids and values, on the backend named by `LOCKSTEP_BENCH_BACKEND` (`cpu`, or `cuda`). Time is
//! what the device sees between two events; bytes are the floor of the operation's page, applications of a search those of
//! an operation to a grid. Rows named `cold` are measured with other data in the caches.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use gpu_core::testing::timing::{Flush, warm};
use gpu_core::{AnyBackend, Result, Tensor, with_backend};
use grid_dsl::kernels::{
    Arena, AugmentItems, Each, EachParams, Expander, FIGURES, Gather, GridBackend, GridBatch, HEAD, Instruction, Item,
    Labels, Laid, Layout, Mode, Op, PAYLOAD, Pack, PackParams, PlaceParams, Ranged, Slot, StateBatch, TallyParams,
    Wanted, augment_into, components, digest, expand, expand_last, gather_each, pack, palette, spread_each, step,
    step_each,
};
use grid_dsl::ops::Grid;
use grid_dsl::search::{Small, operations};
use grid_dsl::{Isometry, Value};

/// Values of a row: more than caches hold.
const ITEMS: usize = 1 << 17;

/// Different grids, over and over.
const DIFFERENT: usize = 512;

/// Bytes of a value's head, of a row of cells, of all cells and masks.
const OF_HEAD: usize = 4 * HEAD;
const OF_ROW: usize = 32;
const OF_PAYLOAD: usize = 4 * PAYLOAD;

/// Rows and columns of the largest grid of the ARC, and of one with about as many cells as they have on average.
const LARGE: usize = 30;
const MIDDLE: usize = 12;

/// What measures on one backend.
struct Bench<'a, B: GridBackend> {
    b: &'a B,
    criterion: &'a mut Criterion,
    flush: Flush<B>,
}

impl<B: GridBackend> Bench<'_, B> {
    /// Measures one operation that moves this many bytes, with warm and with cold caches.
    fn moving(&mut self, name: &str, items: usize, bytes: usize, run: impl FnMut() -> Result<()>) {
        self.of(name, items, Throughput::Bytes((items * bytes) as u64), run);
    }

    fn of(&mut self, name: &str, items: usize, throughput: Throughput, mut run: impl FnMut() -> Result<()>) {
        let Self { b, criterion, flush } = self;
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
        group.throughput(throughput);
        let taken = |time: Result<Duration>| time.unwrap_or_else(|e| panic!("{name}: {e}"));
        group.bench_function(BenchmarkId::new(B::NAME, items), |timer| {
            timer.iter_custom(|times| taken(warm(*b, times, &mut run)));
        });
        group.bench_function(BenchmarkId::new(format!("{}_cold", B::NAME), items), |timer| {
            timer.iter_custom(|times| taken(flush.cold(b, times, &mut run)));
        });
        group.finish();
    }
}

/// Grids of so many colours, in patches as tasks have them rather than cell by cell.
fn grids(side: usize, colours: i32) -> Vec<Value> {
    let one = |seed: usize| {
        let cell =
            |i: usize, j: usize| (seed * 31 + (i / 3) * 7 + (j / 2) * 13 + (i / 3) * (j / 2) * seed) as i32 % colours;
        Value::grid((0..side).map(|i| (0..side).map(|j| cell(i, j)).collect::<Vec<_>>()))
    };
    (0..DIFFERENT).map(one).collect()
}

fn dense(all: &[Value]) -> Vec<Grid> {
    all.iter().map(|grid| Grid::try_from(grid).unwrap_or_else(|e| panic!("a grid: {e:?}"))).collect()
}

fn many<T: Clone>(all: &[T], count: usize) -> Vec<T> {
    (0..count).map(|k| all[k % all.len()].clone()).collect()
}

/// Slots of the arena that steps read and write.
const FULL: u32 = 0;
const SMALL: u32 = 1;
const TWO: u32 = 2;
const TRUE: u32 = 3;
const OBJECTS: u32 = 4;
const CELLS: u32 = 5;
const TARGET: u32 = 6;
const SLOTS: usize = 7;

fn instruction(op: Op, operands: [u32; 4], target: u32) -> Instruction {
    let key = op.function_at().and_then(|_| op.key(grid_dsl::Prim::Size)).unwrap_or_default();
    Instruction { op, target, operands, key }
}

fn arena<B: GridBackend>(b: &B) -> Result<Arena<B>> {
    let known = |value: &Value| Slot::Known(Ok(value.clone()));
    let mut arena = Arena::new(b, SLOTS, ITEMS)?;
    for (slot, values) in [
        (FULL, grids(LARGE, 10)),
        (SMALL, grids(MIDDLE, 4)),
        (TWO, vec![Value::Int(2)]),
        (TRUE, vec![Value::Bool(true)]),
    ] {
        arena.write(b, slot as usize, &many(&values.iter().map(known).collect::<Vec<_>>(), ITEMS))?;
    }
    let made = [(Op::Objects, [SMALL, TRUE, TRUE, TRUE], OBJECTS), (Op::Ofcolor, [FULL, TWO, 0, 0], CELLS)];
    step(b, &mut arena, &made.map(|(op, operands, target)| instruction(op, operands, target)))?;
    Ok(arena)
}

fn steps<B: GridBackend>(bench: &mut Bench<'_, B>, arena: &mut Arena<B>) {
    let b = bench.b;
    let (full, small) = (OF_HEAD + LARGE * OF_ROW, OF_HEAD + MIDDLE * OF_ROW);
    let whole = OF_HEAD + OF_PAYLOAD;
    for (name, op, operands, bytes) in [
        ("step_rot90", Op::Rot90, [FULL, 0, 0, 0], 2 * full),
        ("step_replace", Op::Replace, [FULL, TWO, TWO, 0], 2 * full + 2 * OF_HEAD),
        ("step_fill", Op::Fill, [FULL, TWO, CELLS, 0], 2 * full + 2 * OF_HEAD + 4 * LARGE),
        ("step_hconcat", Op::Hconcat, [SMALL, SMALL, 0, 0], 3 * small),
        ("step_objects", Op::Objects, [SMALL, TRUE, TRUE, TRUE], small + 3 * OF_HEAD + whole),
        ("step_argmax", Op::Argmax, [OBJECTS, 0, 0, 0], 2 * whole),
        ("step_add", Op::Add, [TWO, TWO, 0, 0], 3 * OF_HEAD),
    ] {
        let all = [instruction(op, operands, TARGET)];
        bench.moving(name, ITEMS, bytes, || step(b, arena, &all));
    }
    // Of many maps: each instruction has a range of its own.
    let (parts, each) = (256, (ITEMS / 256) as u32);
    let ranged = |k: u32| Ranged {
        op: Op::Rot90,
        target: TARGET * ITEMS as u32 + k * each,
        operands: [FULL * ITEMS as u32 + k * each, 0, 0, 0],
        same: [false; 4],
        key: 0,
        count: each,
    };
    let all = [(0..parts).map(ranged).collect::<Vec<_>>()];
    bench.moving("step_each_rot90", ITEMS, 2 * full, || step_each(b, arena, &all));
}

/// Elements of maps: laid out, and what was made of them taken together.
fn maps<B: GridBackend>(bench: &mut Bench<'_, B>, arena: &mut Arena<B>) -> Result<()> {
    let b = bench.b;
    let each = Each { gather: Gather::Apply, target: TARGET, operands: vec![OBJECTS], container: Some(0) };
    let counts = grid_dsl::kernels::count_each(b, arena, std::slice::from_ref(&each))?;
    let samples: Vec<(u32, u32)> = (0..).zip(counts).filter_map(|(s, n)| Some((s, n?))).take(ITEMS / 8).collect();
    // As `count_each` lists it.
    let list = [Gather::Apply as u32, TARGET, OBJECTS, 0, 1, 0, 0, 0, 0, 0, OBJECTS];
    let p = EachParams { items: ITEMS as u32, samples: ITEMS as u32, operands: 10, each: 0 };
    let list = Tensor::<B, u32, 1>::from_slice(b, [list.len()], &list)?;
    let (heads, words) = arena.words(b)?;
    let mut heads = Tensor::<B, i32, 1>::from_slice(b, [heads.len()], &heads)?;
    let words = Tensor::<B, u32, 1>::from_slice(b, [words.len()], &words)?;
    let mut out = Tensor::<B, u32, 1>::zeros(b, [ITEMS])?;
    bench.moving("count_each", ITEMS, OF_HEAD + 4, || {
        b.count_unchecked(p, list.flat(), words.flat(), heads.flat_mut(), out.flat_mut())
    });
    let laid = Laid { each, place: 0, calls: 1, samples };
    let (elements, whole) = (laid.elements() as usize, OF_HEAD + OF_PAYLOAD);
    let mut room = Arena::<B>::new(b, 2, elements)?;
    let containers = laid.samples.len();
    let layout = Layout::new(b, arena, &room, std::slice::from_ref(&laid))?;
    let per_element = (containers * whole).div_ceil(elements) + whole;
    bench.moving("spread_each", elements, per_element, || spread_each(b, arena, &mut room, &layout));
    // The function: the number of cells.
    let call = Ranged {
        op: Op::Size,
        target: laid.slot(1),
        operands: [laid.slot(0), 0, 0, 0],
        same: [false; 4],
        key: 0,
        count: laid.elements(),
    };
    step_each(b, &mut room, &[vec![call]])?;
    let per_element = OF_HEAD + (containers * OF_HEAD).div_ceil(elements);
    bench.moving("gather_each", elements, per_element, || gather_each(b, arena, &room, &layout));
    Ok(())
}

/// Values from and to lists, and what became of them.
fn lists<B: GridBackend>(bench: &mut Bench<'_, B>) -> Result<()> {
    let b = bench.b;
    let slots: Vec<Slot> = grids(LARGE, 10).into_iter().map(|grid| Slot::Known(Ok(grid))).collect();
    let (heads, words) = Arena::of(b, DIFFERENT, &slots)?.words(b)?;
    let (heads, words) = (many(&heads, ITEMS * HEAD), many(&words, ITEMS * PAYLOAD));
    let heads = Tensor::<B, i32, 1>::from_slice(b, [heads.len()], &heads)?;
    let words = Tensor::<B, u32, 1>::from_slice(b, [words.len()], &words)?;
    let (mut to_heads, mut to_words) = (Tensor::zeros(b, [heads.len()])?, Tensor::zeros(b, [words.len()])?);
    // In an order that no cache foresees.
    let places: Vec<u32> = (0..ITEMS as u32).map(|k| k.wrapping_mul(40_503) % ITEMS as u32).collect();
    let list = Tensor::<B, u32, 1>::from_slice(b, [ITEMS], &places)?;
    let p = |payloads: u32| PlaceParams { count: ITEMS as u32, payloads, each: 1 };
    let whole = 2 * (OF_HEAD + OF_PAYLOAD) + 4;
    bench.moving("take", ITEMS, whole, || {
        let to = (to_heads.flat_mut(), to_words.flat_mut());
        b.take_unchecked(p(1), list.flat(), (heads.flat(), words.flat()), to)
    });
    bench.moving("take_heads", ITEMS, 2 * OF_HEAD + 4, || {
        let to = (to_heads.flat_mut(), to_words.flat_mut());
        b.take_unchecked(p(0), list.flat(), (heads.flat(), words.flat()), to)
    });
    bench.moving("put", ITEMS, whole, || {
        let to = (to_heads.flat_mut(), to_words.flat_mut());
        b.put_unchecked(p(1), list.flat(), (heads.flat(), words.flat()), to)
    });
    // As `take_packed` lists grids: place, where it begins, rows and the words of each.
    let row = LARGE.div_ceil(4);
    let item = |(k, &place): (usize, &u32)| [place, (k * LARGE * row) as u32, (LARGE << 8 | row << 16) as u32];
    let items: Vec<u32> = places.iter().enumerate().flat_map(item).collect();
    let items = Tensor::<B, u32, 1>::from_slice(b, [items.len()], &items)?;
    let mut packed = Tensor::<B, u32, 1>::zeros(b, [ITEMS * LARGE * row])?;
    let p = PackParams { count: ITEMS as u32 };
    bench.moving("take_packed", ITEMS, 12 + 8 * LARGE * row, || {
        Pack::pack_unchecked(b, p, items.flat(), words.flat(), packed.flat_mut())
    });
    // Two operands of each, on about as many nodes and samples as a level of many programs has.
    let (nodes, samples) = (1024, 1024);
    let heads = many(&heads.to_vec(b)?, 3 * nodes * samples * HEAD);
    let heads = Tensor::<B, i32, 1>::from_slice(b, [heads.len()], &heads)?;
    let items: Vec<u32> = (0..nodes as u32).flat_map(|k| [3 * k, 0, 2 * k, 2]).collect();
    let operands: Vec<u32> = (0..nodes as u32).flat_map(|k| [3 * k + 1, 3 * k + 2]).collect();
    let items = Tensor::<B, u32, 1>::from_slice(b, [items.len()], &items)?;
    let operands = Tensor::<B, u32, 1>::from_slice(b, [operands.len()], &operands)?;
    let mut counts = Tensor::<B, u32, 1>::zeros(b, [nodes * 8])?;
    let p = TallyParams { items: nodes as u32, samples: samples as u32 };
    bench.moving("tally", nodes * samples, 3 * OF_HEAD, || {
        b.tally_unchecked(p, items.flat(), operands.flat(), heads.flat(), counts.flat_mut())
    });
    Ok(())
}

/// Searches of tasks with three examples.
fn searches<B: GridBackend>(bench: &mut Bench<'_, B>) -> Result<()> {
    const STATES: usize = 1 << 12;
    let b = bench.b;
    let small = |grid: &Value| Small::read(grid).unwrap_or_default();
    let read = |side, colours| grids(side, colours).iter().map(small).collect::<Vec<Small>>();
    let (states, goals) = (read(MIDDLE, 4), read(MIDDLE, 5));
    let states: Vec<Vec<Small>> =
        (0..STATES).map(|k| (0..3).map(|e| states[(k + 170 * e) % DIFFERENT].clone()).collect()).collect();
    let (all, by) = (operations(), Expander::new(b, &operations(), &goals[..3])?);
    let batch = StateBatch::new(b, &states)?;
    let found = expand(b, &by, &batch, 32)?;
    let applications = |tallies: &[u32]| tallies.chunks_exact(2).map(|pair| u64::from(pair[0])).sum::<u64>();
    let done = applications(&found.tallies.to_vec(b)?);
    bench.of("expand", STATES, Throughput::Elements(done), || expand(b, &by, &batch, 32).map(drop));
    let done = applications(&expand_last(b, &by, &batch, 32)?.to_vec(b)?);
    bench.of("expand_last", STATES, Throughput::Elements(done), || expand_last(b, &by, &batch, 32).map(drop));
    let sizes = found.sizes.to_vec(b)?;
    let wanted = |(at, &size): (usize, &u32)| Wanted {
        state: (at / all.len()) as u32,
        operation: (at % all.len()) as u32,
        size,
    };
    let wanted: Vec<Wanted> = sizes.iter().enumerate().filter(|(_, size)| **size > 0).map(wanted).collect();
    let images = 3 * wanted.len() as u64;
    bench.of("expand_pack", STATES, Throughput::Elements(images), || pack(b, &by, &batch, &wanted).map(drop));
    Ok(())
}

/// Grids in batches of their own.
fn batches<B: GridBackend>(bench: &mut Bench<'_, B>) -> Result<()> {
    let b = bench.b;
    let full = many(&dense(&grids(LARGE, 10)), ITEMS / 8);
    let batch = GridBatch::of_grids(b, &full)?;
    let permutations = [std::array::from_fn(|c| if c < 10 { (c as u8 + 3) % 10 } else { c as u8 })];
    let items: Vec<Item> =
        (0..ITEMS).map(|k| Item { source: (k / 8) as u32, isometry: Isometry::ALL[k % 8], permutation: 0 }).collect();
    let work = AugmentItems::new(b, &batch, &permutations, &items)?;
    let mut out = grid_dsl::kernels::augment(b, &batch, &permutations, &items)?;
    bench.moving("augment", ITEMS, 2000, || augment_into(b, &batch, &work, &mut out));
    let mut digests = Tensor::zeros(b, [ITEMS, 2])?;
    bench.moving("digest", ITEMS, LARGE * OF_ROW + 10, || digest(b, &out, &mut digests));
    let mut figures = Tensor::zeros(b, [ITEMS, FIGURES])?;
    bench.moving("palette", ITEMS, LARGE * OF_ROW + 50, || palette(b, &out, &mut figures));
    let middle = GridBatch::of_grids(b, &many(&dense(&grids(MIDDLE, 4)), ITEMS / 4))?;
    let modes = [Mode::new(true, true, true)];
    let mut labels = Labels::new(b, 1, ITEMS / 4, 128)?;
    components(b, &middle, &modes, &mut labels)?;
    let found: u64 = labels.counts.to_vec(b)?.into_iter().map(u64::from).sum();
    let bytes = 2 + 3 * MIDDLE * OF_ROW + 4 + (8 * found as usize).div_ceil(ITEMS / 4);
    bench.moving("components", ITEMS / 4, bytes, || components(b, &middle, &modes, &mut labels));
    Ok(())
}

fn main() {
    let name = std::env::var("LOCKSTEP_BENCH_BACKEND").unwrap_or_else(|_| "cpu".to_owned());
    let any = AnyBackend::open(&name).unwrap_or_else(|e| panic!("LOCKSTEP_BENCH_BACKEND={name}: {e}"));
    let mut criterion = Criterion::default().configure_from_args();
    with_backend!(&any, |b| {
        let flush = Flush::new(b).unwrap_or_else(|e| panic!("{e}"));
        let mut bench = Bench { b, criterion: &mut criterion, flush };
        let all = |bench: &mut Bench<'_, _>| {
            let mut arena = arena(b)?;
            steps(bench, &mut arena);
            maps(bench, &mut arena)?;
            drop(arena);
            lists(bench)?;
            searches(bench)?;
            batches(bench)
        };
        all(&mut bench).unwrap_or_else(|e| panic!("{e}"));
    });
    criterion.final_summary();
}
