use gpu_core::{Backend, Cpu, Tensor};

fn main() {
    let cpu = Cpu::new();
    let mut x: Tensor<Cpu, f32, 1> = Tensor::zeros(&cpu, [4]).unwrap();
    cpu.copy(x.flat(), x.flat_mut()).unwrap();
}
