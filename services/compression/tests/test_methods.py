"""Methods against their papers' definitions. Random-draw inequalities are medians over 30 draws."""

from __future__ import annotations

from statistics import median

import pytest
import torch

from assay_compression.methods.awq import awq
from assay_compression.methods.gptq import gptq
from assay_compression.methods.grid import GridSpec, fit
from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.magnitude import magnitude
from assay_compression.methods.masks import BlockPattern
from assay_compression.methods.noise import matched_noise
from assay_compression.methods.rtn import rtn
from assay_compression.methods.sparsegpt import sparsegpt
from assay_compression.methods.wanda import wanda

DRAWS = range(30)
TWO_FOUR = BlockPattern(2, 4)
FP32 = torch.float32


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(seed: int, rows: int = 16, columns: int = 64) -> torch.Tensor:
    return torch.randn(rows, columns, generator=generator(seed))


def seen(inputs: torch.Tensor) -> InputStatistics:
    statistics = InputStatistics(inputs.shape[-1])
    statistics.add(inputs)
    return statistics


def correlated_inputs(seed: int, columns: int = 64) -> torch.Tensor:
    mixing = torch.randn(columns, columns, generator=generator(seed + 1000))
    return torch.randn(400, columns, generator=generator(seed + 2000)) @ mixing


def quantize(weight: torch.Tensor, inputs: InputStatistics, spec: GridSpec, order: bool = False):
    return gptq(weight, inputs, spec, act_order=order, damping=0.01, scale_dtype=FP32)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_with_identity_hessian_is_round_to_nearest(bits, act_order, symmetric):
    spec = GridSpec(bits, 16, symmetric)
    weight = weights(1)
    result = quantize(weight, seen(torch.eye(64)), spec, act_order)
    assert torch.equal(result.weight, rtn(weight, spec, scale_dtype=FP32).weight)
    assert not result.rounded_to_nearest


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_weights_are_exactly_on_the_grid(bits):
    spec = GridSpec(bits, 16)
    weight = weights(2)
    grid = fit(weight, spec)
    quantized = quantize(weight, seen(correlated_inputs(2)), spec).weight
    assert torch.equal(grid.values(grid.codes(quantized)), quantized)


@pytest.mark.parametrize("bits", [3, 4])
def test_gptq_output_error_is_below_round_to_nearest(bits):
    spec = GridSpec(bits, 16)
    ratios = []
    for seed in DRAWS:
        weight, inputs = weights(seed), seen(correlated_inputs(seed))
        plain = inputs.output_error(weight, rtn(weight, spec, scale_dtype=FP32).weight)
        ratios.append(inputs.output_error(weight, quantize(weight, inputs, spec).weight) / plain)
    assert median(ratios) < 0.9


def optimal_brain_quantization(weight, hessian, grid, order):
    """Equations 2 and 3 of the paper as they stand: no blocks, no Cholesky factor, in float64."""
    left = weight.double().clone()
    inverse = (hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))).double()
    inverse = torch.linalg.inv(inverse)
    codes = torch.zeros_like(left)
    for column in order:
        rounded = grid.codes(left.float())[:, column]
        codes[:, column] = rounded
        value = grid.values(codes.float())[:, column].double()
        error = (left[:, column] - value) / inverse[column, column]
        left -= error[:, None] * inverse[column]
        left[:, column] = value
        inverse -= torch.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return codes


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gptq_finds_the_codes_of_the_papers_equations(bits, act_order):
    spec = GridSpec(bits, 16)
    same = []
    for seed in range(5):
        weight, inputs = weights(seed), seen(correlated_inputs(seed))
        hessian, grid = inputs.hessian, fit(weight, spec)
        order = hessian.diagonal().argsort(descending=True) if act_order else range(64)
        expected = optimal_brain_quantization(weight, hessian, grid, order)
        found = quantize(weight, inputs, spec, act_order).quantized.codes
        same.append(float((found == expected).float().mean()))
    # A weight between two codes may round either way in float32, and moves those after it.
    assert min(same) > 0.98
    assert median(same) > 0.995


def test_gptq_survives_dead_inputs():
    inputs = correlated_inputs(3)
    inputs[:, 5] = 0
    result = quantize(weights(3), seen(inputs), GridSpec(4, 16))
    assert result.weight.isfinite().all()
    assert (result.weight[:, 5] == 0).all()


def test_output_error_is_that_of_the_outputs():
    weight, inputs = weights(4), correlated_inputs(4)
    pruned = magnitude(weight, sparsity=0.5, pattern=None)
    expected = ((pruned - weight) @ inputs.T).norm() / (weight @ inputs.T).norm()
    assert seen(inputs).output_error(weight, pruned) == pytest.approx(float(expected), rel=1e-4)


def test_statistics_do_not_depend_on_batching():
    inputs = correlated_inputs(5)
    whole, parts = seen(inputs), InputStatistics(64)
    for part in inputs.split(37):
        parts.add(part)
    assert parts.tokens == whole.tokens
    torch.testing.assert_close(parts.hessian, whole.hessian, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("pattern", [None, TWO_FOUR])
def test_wanda_prunes_the_smallest_product_of_weight_and_input_norm(pattern):
    weight, inputs = weights(6), correlated_inputs(6)
    pruned = wanda(weight, seen(inputs), sparsity=0.5, pattern=pattern)
    scores = weight.abs() * inputs.norm(dim=0)
    width = 4 if pattern else 64
    kept = (pruned != 0).unflatten(-1, (-1, width))
    grouped = scores.unflatten(-1, (-1, width))
    assert (kept.sum(-1) == width // 2).all()
    lowest_kept = grouped.masked_fill(~kept, float("inf")).amin(-1)
    assert (grouped.masked_fill(kept, 0).amax(-1) <= lowest_kept).all()
    assert torch.equal(pruned[pruned != 0], weight[pruned != 0])


def test_wanda_is_the_librarys():
    from llmcompressor.modifiers.pruning.wanda.wanda_sparsify import sparsify_weight

    weight, inputs = weights(7), correlated_inputs(7)
    module = torch.nn.Linear(64, 16, bias=False)
    module.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    squares = {module: inputs.square().sum(0)}
    expected = sparsify_weight(module, squares, 0.5, 2, 4)
    assert torch.equal(wanda(weight, seen(inputs), sparsity=0.5, pattern=TWO_FOUR), expected)


@pytest.mark.parametrize("pattern", [TWO_FOUR, BlockPattern(4, 8)])
def test_sparsegpt_has_exact_blocks(pattern):
    pruned = sparsegpt(
        weights(8), seen(correlated_inputs(8)), sparsity=0.5, pattern=pattern, damping=0.01
    )
    zeros = (pruned == 0).unflatten(-1, (-1, pattern.size)).sum(-1)
    assert (zeros == pattern.zeros).all()


@pytest.mark.parametrize("columns", [64, 200])
@pytest.mark.parametrize("pattern", [None, TWO_FOUR, BlockPattern(4, 8)])
@pytest.mark.parametrize("unused", [False, True])
def test_sparsegpt_gives_the_weights_of_llm_compressor_bit_by_bit(columns, pattern, unused):
    from llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify import sparsify_weight

    weight, inputs = weights(9, columns=columns), correlated_inputs(9, columns)
    if unused:
        inputs[:, ::3] = 0
    module = torch.nn.Linear(columns, 16, bias=False)
    module.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    _, expected = sparsify_weight(
        module=module,
        hessians_dict={module: seen(inputs).hessian},
        sparsity=0.5,
        prune_n=pattern.zeros if pattern else 0,
        prune_m=pattern.size if pattern else 0,
        block_size=128,
        dampening_frac=0.01,
        preserve_sparsity_mask=False,
    )
    mine = sparsegpt(weight, seen(inputs), sparsity=0.5, pattern=pattern, damping=0.01)
    assert torch.equal(mine, expected)


def test_sparsegpt_output_error_is_below_wanda_and_magnitude():
    to_wanda, to_magnitude = [], []
    for seed in DRAWS:
        weight, inputs = weights(seed), seen(correlated_inputs(seed))
        mine = sparsegpt(weight, inputs, sparsity=0.5, pattern=TWO_FOUR, damping=0.01)
        error = inputs.output_error(weight, mine)
        other = wanda(weight, inputs, sparsity=0.5, pattern=TWO_FOUR)
        plain = magnitude(weight, sparsity=0.5, pattern=TWO_FOUR)
        to_wanda.append(error / inputs.output_error(weight, other))
        to_magnitude.append(error / inputs.output_error(weight, plain))
    assert median(to_wanda) < 1
    assert median(to_magnitude) < 1


def salient_inputs(seed: int, columns: int = 64) -> torch.Tensor:
    """Some channels are much larger than the rest, as in language models."""
    size = torch.ones(columns)
    size[:: columns // 4] = 30
    return torch.randn(400, columns, generator=generator(seed)) * size


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_awq_output_error_is_at_most_that_of_rounding_in_every_draw(bits):
    spec = GridSpec(bits, 16, symmetric=False)
    for seed in DRAWS:
        weight, inputs = weights(seed), seen(salient_inputs(seed))
        plain = inputs.output_error(weight, rtn(weight, spec, scale_dtype=FP32).weight)
        (mine,) = awq([weight], inputs, spec, scale_dtype=FP32)
        # alpha = 0 is a point of the search, so this is no matter of luck.
        assert inputs.output_error(weight, mine.weight) <= plain * 1.0001


def test_awq_output_error_is_well_below_rounding_where_channels_differ():
    spec = GridSpec(3, 16, symmetric=False)
    ratios = []
    for seed in DRAWS:
        weight, inputs = weights(seed), seen(salient_inputs(seed))
        plain = inputs.output_error(weight, rtn(weight, spec, scale_dtype=FP32).weight)
        (mine,) = awq([weight], inputs, spec, scale_dtype=FP32)
        ratios.append(inputs.output_error(weight, mine.weight) / plain)
    assert median(ratios) < 0.8


def test_awq_scale_is_shared_and_a_power_of_the_mean_input_size():
    inputs = salient_inputs(1)
    pair = awq([weights(1), weights(2)], seen(inputs), GridSpec(3, 16, False), scale_dtype=FP32)
    assert torch.equal(pair[0].channel_scale, pair[1].channel_scale)
    # log s = alpha log size + constant, for one alpha of the grid.
    size, scale = inputs.abs().mean(0).log(), pair[0].channel_scale.log()
    alpha = (scale.max() - scale.min()) / (size.max() - size.min())
    assert float(alpha * 19) == pytest.approx(round(float(alpha * 19)), abs=1e-3)
    assert float(alpha) > 0
    torch.testing.assert_close(scale - scale.mean(), alpha * (size - size.mean()))
    assert float(scale.max() + scale.min()) == pytest.approx(0, abs=1e-4)


def test_awq_weights_are_those_of_the_definition():
    weight, inputs, spec = weights(3), seen(salient_inputs(3)), GridSpec(4, 16, symmetric=False)
    (mine,) = awq([weight], inputs, spec, scale_dtype=FP32)
    scaled = weight * mine.channel_scale
    grid = fit(scaled, spec)
    expected = grid.values(grid.codes(scaled)) / mine.channel_scale
    assert torch.equal(mine.weight, expected)


def test_awq_search_finds_the_librarys_scale():
    """llm-compressor's search on the same layer: its loss is the mean squared output error."""
    weight, inputs, spec = weights(4), salient_inputs(4), GridSpec(3, 16, symmetric=False)
    (mine,) = awq([weight], seen(inputs), spec, scale_dtype=FP32)
    torch.testing.assert_close(mine.channel_scale, librarys_scale(weight, inputs, spec))


def librarys_scale(weight: torch.Tensor, inputs: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    from types import SimpleNamespace

    from compressed_tensors.quantization import (
        QuantizationScheme,
        QuantizationStatus,
        initialize_module_for_quantization,
    )
    from llmcompressor.modifiers.transform.awq import AWQModifier

    from assay_compression.formats.compressed_tensors_format import arguments_of

    parent = torch.nn.Sequential(torch.nn.Linear(64, 16, bias=False))
    layer = parent[0]
    layer.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments_of(spec))
    initialize_module_for_quantization(layer, scheme)
    layer.quantization_status = QuantizationStatus.CALIBRATION
    # As in the modifier: the search puts quantized weights into an otherwise plain layer.
    layer.quantization_enabled = False
    modifier = AWQModifier(n_grid=20, duo_scaling=False)
    count = torch.tensor(len(inputs))
    modifier._smooth_activation_stats["norm"] = (inputs.abs().sum(0), count)
    modifier._run_samples = lambda module: [module(inputs)]
    mapping = SimpleNamespace(
        smooth_name="norm", parent=parent, parent_name="mlp", balance_layers=[layer]
    )
    outputs = [inputs @ weight.T]
    return modifier._compute_best_scale(mapping, outputs, {layer: weight.clone()})


def test_noise_has_the_size_it_is_given_and_a_stream_per_seed_and_module():
    weight = weights(9)
    noisy = matched_noise(weight, error=2.5, seed=1, name="a")
    assert float((noisy - weight).norm()) == pytest.approx(2.5, rel=1e-5)
    assert torch.equal(noisy, matched_noise(weight, error=2.5, seed=1, name="a"))
    assert not torch.equal(noisy, matched_noise(weight, error=2.5, seed=2, name="a"))
    assert not torch.equal(noisy, matched_noise(weight, error=2.5, seed=1, name="b"))
