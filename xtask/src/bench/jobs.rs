//! What is measured: whole jobs of every domain, and the programs that do the same.

use std::path::Path;

use super::cores;

/// One measurement of a whole job, and the peers that do the same.
pub(super) struct Job {
    /// Words of the command, behind `lockstep`; the first names the domain.
    pub(super) ours: String,
    /// Programs of `benches/peers` and their arguments.
    pub(super) peers: Vec<(&'static str, String)>,
}

impl Job {
    fn new(ours: String, peer: &'static str, of_peer: String) -> Self {
        Self { ours, peers: vec![(peer, of_peer)] }
    }

    fn alone(ours: String) -> Self {
        Self { ours, peers: Vec::new() }
    }

    pub(super) fn domain(&self) -> &str {
        self.ours.split(' ').next().unwrap_or_default()
    }
}

/// Whole jobs of every domain. `style` is a weight file that both sides read; without one ours runs alone on random
/// weights, with which it is as fast.
pub(super) fn all(backend: &str, style: Option<&Path>, data: Option<&Path>, peers: &GridPeers<'_>) -> Vec<Job> {
    let mut all = contourlets(backend);
    all.extend(styles(backend, style));
    all.extend(walls(backend));
    all.extend(grids(backend, data, peers));
    all
}

/// Where programs are that grids are measured beside. They compute on the CPU.
#[derive(Default)]
pub(super) struct GridPeers<'a> {
    pub(super) arc_dsl: Option<&'a Path>,
    pub(super) icecuber: Option<&'a Path>,
}

/// The language of grids, on the tasks and programs of the golden data; without them nothing.
fn grids(backend: &str, data: Option<&Path>, peers: &GridPeers<'_>) -> Vec<Job> {
    let Some(data) = data.map(|data| data.join("grid-dsl")).filter(|data| data.is_dir()) else { return Vec::new() };
    let (tasks, programs) = (data.join("arc/training.jsonl"), data.join("programs/public.jsonl"));
    let tasks = format!("--tasks {}", tasks.display());
    let same = format!("grid bench {tasks}");
    let graphs = format!("{same} --programs {} --runs 3", programs.display());
    if backend != "cpu" {
        return vec![
            Job::alone(format!("{same} --grids 1000000 --only w1,w1d,w4,w5,w6,w7")),
            Job::alone(format!("{graphs} --only w2,w3,w7")),
        ];
    }
    let mut all = vec![
        Job::alone(format!("{same} --grids 100000 --only w1,w1d,w4")),
        Job::alone(format!("{graphs} --only w2,w3")),
    ];
    // Once more, as much of the same as CPython does in minutes.
    if let Some(folder) = peers.arc_dsl {
        let peer = |arguments: &str| format!("{} {tasks} --runs 3 {arguments}", folder.display());
        for (ours, theirs) in [("w1 --grids 1718", "W1 --grids 1718"), ("w1d --grids 40", "W1d --dense 40")] {
            let theirs = peer(&format!("--only {theirs}"));
            all.push(Job::new(format!("{same} --only {ours}"), "grid_arcdsl.py", theirs));
        }
        let few = "--inputs 6 --of-tasks 2";
        let solvers = folder.join("solvers.py");
        let ours = format!("{same} --programs {} --runs 3 --only w2,w3 {few}", solvers.display());
        all.push(Job::new(ours, "grid_arcdsl.py", peer(&format!("--only W2,W3 {few}"))));
    }
    if let Some(path) = peers.icecuber {
        let few = "--depth 2 --of-tasks 10";
        let theirs = format!("{} {tasks} --runs 3 {few}", path.display());
        all.push(Job::new(format!("{same} --only w4 {few}"), "grid_icecuber.py", theirs));
    }
    all
}

/// Arguments that both programs understand alike but for one name.
fn contourlets(backend: &str) -> Vec<Job> {
    let ours = |arguments: &str| format!("nsct bench {arguments}");
    if backend == "cpu" {
        let mut all = Vec::new();
        for (size, levels) in [256, 512, 1024].into_iter().flat_map(|size| ["2,3", "2,3,3,4"].map(|l| (size, l))) {
            let same = format!("--batch 1 --size {size} --levels {levels}");
            all.push(Job::new(ours(&same), "nsct_numpy.py", format!("{same} --workers {}", cores())));
        }
        let peer = format!("--batch 8 --workers {}", cores());
        all.push(Job::new(ours("--batch 8 --loop"), "nsct_numpy.py", peer));
        return all;
    }
    let batch = "--batch 8 --channels 3";
    vec![
        Job::new(ours(&format!("{batch} --loop")), "nsct_torch.py", batch.to_owned()),
        // Direct kernels: mapping kernels tap by tap, and the dense filters as other libraries for GPUs apply them.
        Job::alone(ours(&format!("{batch} --engine taps"))),
        Job::alone(ours(&format!("{batch} --dfilt pkva --engine ladder"))),
        Job::alone(ours(&format!("{batch} --engine dense-reference --samples 3"))),
    ]
}

/// The network in every precision, at the sizes that people ask about.
fn styles(backend: &str, weights: Option<&Path>) -> Vec<Job> {
    let file = weights.map(Path::display);
    let model = file.as_ref().map(|file| format!(" --model {file}")).unwrap_or_default();
    let (sizes, precisions): (&str, &[&str]) = match backend {
        "cpu" => ("256x256,512x512", &["f32"]),
        _ => ("256x256,512x512,1080x1920,2160x3840", &["f16", "f32"]),
    };
    let batch = if backend == "cpu" { "1" } else { "1,8" };
    let same = format!("--sizes {sizes} --batch {batch}");
    let mut all: Vec<Job> = precisions
        .iter()
        .map(|precision| Job::alone(format!("style bench {same} --precision {precision}{model}")))
        .collect();
    if let (Some(last), Some(file)) = (all.last_mut(), file) {
        let peer = format!("--weights {file} {same}");
        last.peers = match backend {
            "cpu" => {
                let peer = format!("{peer} --workers {}", cores());
                let torch = format!("{peer} --device cpu --modes f32");
                vec![("style_onnx.py", peer), ("style_torch.py", torch)]
            }
            _ => vec![("style_torch.py", peer)],
        };
    }
    // The transformer; frames one after the other beside the computation alone; what has no room, in strips.
    all.push(Job::alone(format!("style bench {same} --model vit:candy")));
    if backend != "cpu" {
        let frames = "--sizes 512x512,1080x1920,2160x3840 --stream --precision f16";
        all.push(Job::alone(format!("style bench {frames}{model}")));
        let strips = "--sizes 4320x7680 --batch 1 --memory 1G --samples 3 --precision f16";
        all.push(Job::alone(format!("style bench {strips}{model}")));
    }
    all
}

/// Products and sums on a wall of LEDs, which the peers have the command make.
fn walls(backend: &str) -> Vec<Job> {
    let ours = |arguments: &str| format!("ata bench {arguments}");
    if backend == "cpu" {
        // Both in processor time of one thread.
        return vec![Job::new(ours("--case cpu --threads 1 --samples 20"), "ata_scipy.py", "--repeat 20".to_owned())];
    }
    let large = Job::alone(ours("--case G6 --case G7 --samples 20"));
    vec![Job::new(ours("--samples 100"), "ata_torch.py", "--repeat 100".to_owned()), large]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_a_job_get_the_same_sizes() {
        let file = Path::new("w.safetensors");
        for backend in ["cpu", "cuda"] {
            for job in all(backend, Some(file), None, &GridPeers::default())
                .iter()
                .filter(|job| job.domain() == "style" && !job.peers.is_empty())
            {
                let sizes = |text: &str| {
                    text.split("--sizes ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned)
                };
                assert!(
                    job.peers.iter().all(|(_, peer)| sizes(peer) == sizes(&job.ours) && peer.contains("w.safetensors"))
                );
                assert!(job.ours.contains("--model w.safetensors"));
            }
        }
        assert!(
            all("cuda", None, None, &GridPeers::default())
                .iter()
                .filter(|job| job.domain() == "style")
                .all(|job| job.peers.is_empty())
        );
    }

    #[test]
    fn grids_are_measured_beside_the_programs_that_are_given() {
        let data = std::env::temp_dir().join(format!("xtask-jobs-{}", std::process::id()));
        std::fs::create_dir_all(data.join("grid-dsl")).unwrap();
        let both = GridPeers { arc_dsl: Some(Path::new("arc-dsl")), icecuber: Some(Path::new("ice")) };
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let after = |text: &str, option: &str| {
            let words = words(text);
            words.iter().position(|word| word == option).and_then(|at| words.get(at + 1).cloned())
        };
        let alone = grids("cpu", Some(&data), &GridPeers::default());
        let measured: Vec<String> = alone.iter().filter_map(|job| after(&job.ours, "--only")).collect();
        assert_eq!(measured, ["w1,w1d,w4", "w2,w3"]);
        let beside: Vec<Job> =
            grids("cpu", Some(&data), &both).into_iter().filter(|job| !job.peers.is_empty()).collect();
        let mut compared = Vec::new();
        for job in &beside {
            let (script, theirs) = &job.peers[0];
            for option in ["--tasks", "--inputs", "--of-tasks", "--depth"] {
                assert_eq!(after(&job.ours, option), after(theirs, option), "{option} of {}", job.ours);
            }
            let grids = after(theirs, "--grids").or_else(|| after(theirs, "--dense"));
            assert_eq!(after(&job.ours, "--grids"), grids);
            let only = after(&job.ours, "--only").unwrap();
            assert!(after(theirs, "--only").is_none_or(|theirs| theirs.to_lowercase() == only));
            compared.push((only, *script));
        }
        let (arc, ice) = ("grid_arcdsl.py", "grid_icecuber.py");
        let wanted = [("w1", arc), ("w1d", arc), ("w2,w3", arc), ("w4", ice)];
        assert_eq!(compared, wanted.map(|(only, script)| (only.to_owned(), script)));
        assert!(grids("cuda", Some(&data), &both).iter().all(|job| job.peers.is_empty()));
        std::fs::remove_dir_all(&data).unwrap();
    }
}
