//! Variants of tasks: turned or mirrored, with colours exchanged, and back again.

use serde::{Deserialize, Serialize};

use crate::conform::Task;
use crate::isometry::Isometry;
use crate::search::Small;
use crate::value::Value;

/// A turn or mirror, then colours exchanged. Every one can be taken back exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    isometry: Isometry,
    colours: [u8; 10],
}

/// The form that files hold: `{"isometry":"rot90","colours":"0213456789"}`.
#[derive(Serialize, Deserialize)]
struct Text {
    isometry: Isometry,
    colours: String,
}

impl Serialize for Transform {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let colours = self.colours.iter().map(|&c| char::from(b'0' + c)).collect();
        Text { isometry: self.isometry, colours }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Transform {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(from)?;
        let digits: Option<Vec<u8>> = text.colours.chars().map(|c| c.to_digit(10).map(|d| d as u8)).collect();
        let colours = digits.and_then(|digits| digits.try_into().ok());
        colours
            .and_then(|colours| Self::new(text.isometry, colours))
            .ok_or_else(|| serde::de::Error::custom("`colours` is no order of the digits 0 to 9"))
    }
}

impl Transform {
    /// What changes nothing.
    pub const IDENTITY: Self = Self { isometry: Isometry::Identity, colours: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] };

    /// A turn or mirror, then each colour `c` replaced by `colours[c]`: nothing unless each of the ten is there once.
    pub fn new(isometry: Isometry, colours: [u8; 10]) -> Option<Self> {
        let mut sorted = colours;
        sorted.sort_unstable();
        (sorted == Self::IDENTITY.colours).then_some(Self { isometry, colours })
    }

    /// The turn or mirror.
    pub fn isometry(&self) -> Isometry {
        self.isometry
    }

    /// What each colour becomes.
    pub fn colours(&self) -> [u8; 10] {
        self.colours
    }

    /// What takes it back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let mut colours = [0; 10];
        for (from, &to) in self.colours.iter().enumerate() {
            colours[usize::from(to)] = from as u8;
        }
        Self { isometry: self.isometry.inverse(), colours }
    }

    /// The image of a grid's cells, row by row.
    ///
    /// # Panics
    ///
    /// If there are not `height * width` cells in both, or a cell is no colour.
    pub fn apply(&self, from: &[u8], sides: (usize, usize), to: &mut [u8]) {
        self.isometry.copy(from, sides, to);
        for cell in to {
            *cell = self.colours[usize::from(*cell)];
        }
    }

    /// The image of a grid that the ARC may have: 1 to 30 rows and columns, colours 0 to 9.
    pub fn grid(&self, grid: &Value) -> Option<Value> {
        let from = Small::read(grid)?;
        let sides = (from.height(), from.width());
        let mut cells = vec![0; from.cells().len()];
        self.apply(from.cells(), sides, &mut cells);
        let width = if self.isometry.turns() { sides.0 } else { sides.1 };
        Some(Value::grid(cells.chunks(width).map(|row| row.iter().map(|&c| i32::from(c)).collect::<Vec<_>>())))
    }
}

/// A task, transformed.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The task, named like the original.
    pub task: Task,
    /// What was done to it.
    pub transform: Transform,
}

impl Variant {
    /// Digests of all grids: inputs and outputs in turn, examples to learn from first; none for an output that is not known.
    pub fn digests(&self) -> Vec<u64> {
        let grids = self.task.examples().flat_map(|(input, output)| [input, output]);
        grids.filter(|grid| **grid != Value::None).map(Value::digest).collect()
    }
}

/// Which variants are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Variants of each task; the first is the task itself.
    pub count: usize,
    /// Whether grids are turned and mirrored.
    pub isometries: bool,
    /// Whether colours are exchanged.
    pub colours: bool,
    /// Colours below this keep their places: 1 for the black of most backgrounds.
    pub fixed: u8,
    /// Where the choice begins. Equal seeds make equal variants, on every machine and in every order of tasks.
    pub seed: u64,
}

impl Default for Choice {
    fn default() -> Self {
        Self { count: 8, isometries: true, colours: true, fixed: 1, seed: 0 }
    }
}

/// Makes variants of tasks.
///
/// ```
/// use grid_dsl::Value;
/// use grid_dsl::augment::{Augmenter, Choice};
/// use grid_dsl::conform::Task;
///
/// let grid = Value::grid([[0, 1, 2]]);
/// let task = Task { id: "t".into(), train: vec![(grid.clone(), grid)], test: vec![] };
/// let augmenter = Augmenter::new(Choice { count: 4, ..Choice::default() });
/// let variants = augmenter.variants(&task)?;
/// assert_eq!(variants.len(), 4);
/// for variant in &variants {
///     let back = variant.transform.inverse().grid(&variant.task.train[0].0);
///     assert_eq!(back.as_ref(), Some(&task.train[0].0));
/// }
/// # Ok::<(), grid_dsl::augment::NotColours>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Augmenter {
    choice: Choice,
}

/// A grid that no variant can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}`, {place}: {why}")]
pub struct NotColours {
    /// The task.
    pub task: String,
    /// The grid: `input of train 0`.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

impl Augmenter {
    /// An augmenter with a choice.
    pub fn new(choice: Choice) -> Self {
        Self { choice }
    }

    /// How many different transforms there are to choose from.
    pub fn distinct(&self) -> usize {
        let free = 10 - usize::from(self.choice.fixed.min(10));
        let colours = if self.choice.colours { (1..=free).product() } else { 1 };
        if self.choice.isometries { 8 * colours } else { colours }
    }

    /// Transforms for a task of a name: the identity first, none twice, and no more than there are.
    pub fn transforms(&self, task: &str) -> Vec<Transform> {
        self.each_transform(task).collect()
    }

    /// [`Self::transforms`] one after the other, each made when it is asked for.
    pub fn each_transform(&self, task: &str) -> impl Iterator<Item = Transform> + use<> {
        let seed = task.bytes().fold(self.choice.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let choice = self.choice;
        let mut random = SplitMix(seed);
        let mut seen = std::collections::HashSet::new();
        // Few of few: every eight turns come together, with new colours each time.
        let rounds = std::iter::repeat_with(move || {
            if choice.colours { random.permutation(choice.fixed) } else { Transform::IDENTITY.colours }
        });
        let all = rounds.filter(move |colours| seen.insert(*colours)).flat_map(move |colours| {
            let turns = if choice.isometries { Isometry::ALL.len() } else { 1 };
            Isometry::ALL.into_iter().take(turns).map(move |isometry| Transform { isometry, colours })
        });
        let others = all.filter(|transform| *transform != Transform::IDENTITY);
        // After the last one nothing new would ever come.
        std::iter::once(Transform::IDENTITY).chain(others).take(choice.count.min(self.distinct()).max(1))
    }

    /// The variants of a task.
    ///
    /// # Errors
    ///
    /// If a grid has other colours or sides than those of the ARC.
    pub fn variants(&self, task: &Task) -> Result<Vec<Variant>, NotColours> {
        self.each_transform(&task.id).map(|transform| transformed(task, transform)).collect()
    }
}

/// A task with one transform on all of its grids.
///
/// # Errors
///
/// If a grid has other colours or sides than those of the ARC.
pub fn transformed(task: &Task, transform: Transform) -> Result<Variant, NotColours> {
    let mut at = 0;
    let mut grid = |value: &Value| {
        at += 1;
        // The output of a test may not be known.
        if *value == Value::None {
            return Ok(Value::None);
        }
        let refused = || {
            let side = if at % 2 == 1 { "input" } else { "output" };
            let place = format!("{side} of {}", task.example_name((at - 1) / 2));
            NotColours { task: task.id.clone(), place, why: Small::flaw(value).unwrap_or_default() }
        };
        transform.grid(value).ok_or_else(refused)
    };
    let mut pairs = |all: &[(Value, Value)]| {
        all.iter().map(|(input, output)| Ok((grid(input)?, grid(output)?))).collect::<Result<Vec<_>, _>>()
    };
    let (train, test) = (pairs(&task.train)?, pairs(&task.test)?);
    Ok(Variant { task: Task { id: task.id.clone(), train, test }, transform })
}

/// The generator by G. L. Steele, D. Lea and C. H. Flood, *Fast splittable pseudorandom number generators* (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, all equally likely but for one part in 2^60.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// An order of the ten colours in which those below `fixed` keep their places.
    fn permutation(&mut self, fixed: u8) -> [u8; 10] {
        let mut colours = Transform::IDENTITY.colours;
        let fixed = usize::from(fixed.min(10));
        for at in (fixed + 1..10).rev() {
            colours.swap(at, fixed + self.below(at - fixed + 1));
        }
        colours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        let (a, b) = (Value::grid([[0, 1, 2], [3, 4, 5]]), Value::grid([[6], [7]]));
        Task { id: "t".into(), train: vec![(a.clone(), b.clone())], test: vec![(b, a)] }
    }

    #[test]
    fn variants_differ_and_go_back() {
        let original = task();
        let augmenter = Augmenter::new(Choice { count: 50, ..Choice::default() });
        let variants = augmenter.variants(&original).unwrap();
        assert_eq!(variants.len(), 50);
        assert_eq!(variants[0].task.train, original.train);
        let mut digests: Vec<_> = variants.iter().map(Variant::digests).collect();
        for variant in &variants {
            assert_eq!(variant.transform.colours()[0], 0);
            let back = transformed(&variant.task, variant.transform.inverse()).unwrap();
            assert_eq!((&back.task.train, &back.task.test), (&original.train, &original.test));
            let text = serde_json::to_string(&variant.transform).unwrap();
            assert_eq!(serde_json::from_str::<Transform>(&text).unwrap(), variant.transform);
        }
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 50);
    }

    #[test]
    fn a_transform_is_primitives() {
        let grid = Value::grid([[0, 1, 2], [1, 1, 0]]);
        for isometry in Isometry::ALL {
            let transform = Transform::new(isometry, [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
            let turned = crate::call(isometry.name(), std::slice::from_ref(&grid)).unwrap();
            let wanted = crate::call("switch", &[turned, Value::Int(0), Value::Int(1)]).unwrap();
            assert_eq!(transform.grid(&grid), Some(wanted), "{isometry:?}");
        }
    }

    #[test]
    fn seeds_decide_and_few_choices_end() {
        let transforms = |choice: Choice| Augmenter::new(choice).transforms("a");
        let choice = Choice { count: 20, ..Choice::default() };
        assert_eq!(transforms(choice), transforms(choice));
        assert_ne!(transforms(choice), transforms(Choice { seed: 1, ..choice }));
        assert_ne!(transforms(choice), Augmenter::new(choice).transforms("b"));
        let turns = transforms(Choice { colours: false, ..choice });
        assert_eq!(turns.len(), 8);
        assert_eq!(transforms(Choice { colours: false, isometries: false, ..choice }).len(), 1);
        assert_eq!(transforms(Choice { isometries: false, fixed: 8, ..choice }).len(), 2);
    }

    /// What is made one by one is what a list of all with a look at those before would hold.
    #[test]
    fn transforms_come_in_order() {
        let listed = |choice: Choice, distinct: usize, task: &str| {
            let seed = task.bytes().fold(choice.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let (mut random, mut all) = (SplitMix(seed), vec![Transform::IDENTITY]);
            while all.len() < choice.count.min(distinct) {
                let colours = if choice.colours { random.permutation(choice.fixed) } else { all[0].colours };
                for &isometry in &Isometry::ALL[..if choice.isometries { 8 } else { 1 }] {
                    let transform = Transform { isometry, colours };
                    if all.len() < choice.count && !all.contains(&transform) {
                        all.push(transform);
                    }
                }
            }
            all
        };
        let flags = [(true, true), (true, false), (false, true), (false, false)];
        for (count, fixed) in [(0, 1), (1, 1), (3, 0), (200, 1), (47, 7), (48, 7), (1000, 7), (9, 9), (9, 10)] {
            for (isometries, colours) in flags {
                let choice = Choice { count, isometries, colours, fixed, seed: count as u64 };
                let augmenter = Augmenter::new(choice);
                let found = augmenter.transforms("abc");
                assert_eq!(found, listed(choice, augmenter.distinct(), "abc"), "{choice:?}");
            }
        }
    }

    #[test]
    fn what_has_other_colours_is_refused() {
        let bad = Task { id: "b".into(), train: vec![(Value::grid([[0]]), Value::grid([[10]]))], test: vec![] };
        let error = Augmenter::new(Choice::default()).variants(&bad).unwrap_err();
        assert_eq!(error.to_string(), "task `b`, output of train 0: row 0, column 0 holds 10, and colours are 0 to 9");
        assert!(Transform::new(Isometry::Identity, [0; 10]).is_none());
        assert!(serde_json::from_str::<Transform>(r#"{"isometry":"rot90","colours":"01"}"#).is_err());
    }
}
