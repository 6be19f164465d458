//! The program as a user runs it: every command, its files, its messages and its exit codes.
#![allow(missing_docs)]

mod align;
mod align_hostile;
mod align_names;
mod ata;
mod bad_input;
mod commands;
mod folders;
mod grid;
mod grid_device;
mod grid_files;
mod grid_tools;
mod style;
mod style_files;
mod style_options;
mod style_scores;
mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with the bundled photographs' crops, and the program run in it.
struct Place(TempDir);

/// What a run printed and returned.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// An empty folder with a gray crop `gray.png` and a colour crop `colour.png`.
    fn with_pictures() -> Self {
        let place = Self::new();
        place.crop("camera.png", (200, 90, 48, 40), "gray.png");
        place.crop("chelsea.png", (150, 80, 40, 32), "colour.png");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A part (left, top, width, height) of a bundled photograph.
    fn crop(&self, photo: &str, (x, y, w, h): (u32, u32, u32, u32), name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("photos").join(photo);
        let crop = image::open(path).unwrap().crop_imm(x, y, w, h);
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        crop.save(self.path(name)).unwrap();
    }

    /// Names in a folder, sorted, hidden ones too.
    fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.current_dir(self.0.path()).args(line.split_whitespace());
        for variable in
            ["SLURM_ARRAY_TASK_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JOB_COMPLETION_INDEX", "LOCKSTEP_LOG"]
        {
            command.env_remove(variable);
        }
        command
    }

    /// Runs `lockstep LINE` in the folder.
    fn run(&self, line: &str) -> Ran {
        let Output { status, stdout, stderr } = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) };
        assert!(!ran.err.contains("panicked"), "`{line}` panicked: {}", ran.err);
        ran
    }

    /// Runs and expects success.
    fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "`{line}`: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs and expects success; the JSON document it printed.
    fn ok_json(&self, line: &str) -> Value {
        let out = self.ok(&format!("{line} --json"));
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("`{line}` printed no JSON ({e}): {out}"))
    }

    /// Runs and expects this exit code and all these words in the error.
    fn fails(&self, line: &str, code: i32, words: &[&str]) {
        let ran = self.run(line);
        // Words, whatever is between them.
        let joined = ran.err.replace(['│', '╰', '─', '▶'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(ran.code, code, "`{line}`: {}{}", ran.out, ran.err);
        for word in words {
            assert!(joined.contains(word), "`{line}` does not say `{word}`: {joined}");
        }
    }
}

/// A `.npy` file of `f32`.
fn npy_f32(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let dims: Vec<_> = shape.iter().map(ToString::to_string).collect();
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}\n", dims.join(", "));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// Shape and values of a `.npy` file of `f32` or `f64` that the program wrote.
fn read_npy(bytes: &[u8]) -> (Vec<usize>, Vec<f64>) {
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let shape = text.split('(').nth(1).unwrap().split(')').next().unwrap();
    let shape = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let data = &bytes[10 + length..];
    let values = if text.contains("<f4") {
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
    } else if text.contains("|u1") {
        data.iter().map(|&b| b.into()).collect()
    } else if text.contains("<u2") {
        data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect()
    } else {
        assert!(text.contains("<f8"), "{text}");
        data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    (shape, values)
}

fn pixels(path: &Path) -> Vec<u8> {
    image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_bytes()
}
