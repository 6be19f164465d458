use gpu_core::{Backend, Cpu, Tensor, TensorView};

fn rows<B: Backend>(_: TensorView<'_, B, f32, 2>) {}

fn main() {
    let cpu = Cpu::new();
    let x: Tensor<Cpu, f32, 3> = Tensor::zeros(&cpu, [1, 2, 3]).unwrap();
    rows(x.view());
}
