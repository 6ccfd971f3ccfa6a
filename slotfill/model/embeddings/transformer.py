"""Contextual token vectors from a pretrained Hugging Face transformer.

    h_t = mean of the vectors of the token's subwords, or the vector of the first   (pooling)
    m_t = gamma * sum_j softmax(s)_j h_t^j over the layers j, including the input   (layers: mix)

The model is read from a folder or the local cache when training starts; nothing is downloaded. The
run folder stores the tokenizer, the model's config and its weights, so the original folder is not
needed for prediction.
A sentence that exceeds the model's maximum length is split between tokens into windows.

Source: Devlin, Chang, Lee & Toutanova 2019, "BERT: Pre-training of Deep Bidirectional Transformers
for Language Understanding"; Peters et al. 2018, "Deep Contextualized Word Representations", eq. 1

Export: Not exported, since its vectors depend on the complete sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from threading import Lock
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import FolderOrName, Positive
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, RunError, UsageError, did_you_mean
from slotfill.extras import required_for
from slotfill.files import check_json
from slotfill.model.embeddings._subwords import SubwordIndexer, check_ids
from slotfill.model.embeddings.base import Embedding
from slotfill.model.layers import padding_mask

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model")

_LANGUAGE_MODELS = (
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
    "MODEL_FOR_MASKED_LM_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
)
"""The mappings of transformers whose models read text."""

_STORED_SHAPE = {"config": {}, "most": int, "unknown": int, "padding": int, "tokenizer": {}}

_UNUSED = {
    *("auto_map", "quantization_config"),  # Code, and packages that the library would execute.
    *("num_labels", "id2label", "label2id", "problem_type"),  # Of a classifier.
    *("return_dict", "use_return_dict"),
}
"""Keys of a config that an encoder has no use for; of labels the library would build a table."""

_LIMITS = {
    "(layers?|blocks|block_sizes|attention_types)$": 1000,
    "(cycles|hash|hashes|iters|loops|passes|repeats)$": 100,
    "positions?(_embeddings)?$": 2**20,
}
"""The maximum of counts, by the ends of their keys, that the library loops over or makes tables of.

The other sizes of a config are those of weights, which are checked as they are allocated.
"""

_LOCAL_ONLY = Lock()


class Transformer(Embedding):
    """Encode the sentence with a transformer and pool each token's subwords.

    path: a folder with config.json, tokenizer.json and model.safetensors, or the name of a model in
        the local cache.
    pooling: use a token's first subword or the mean of its subwords.
    layers: use the last layer or a learned mix of all layers.
    trainable: train the transformer with the network.
    learning_rate: learning rate of the transformer; that of the rest is `train.learning_rate`.
    """

    contextual = True

    def __init__(
        self,
        vocab: Vocab,
        *,
        path: FolderOrName,
        pooling: Literal["first", "mean"] = "first",
        layers: Literal["last", "mix"] = "last",
        trainable: bool = False,
        learning_rate: Positive = 5e-5,
    ) -> None:
        super().__init__()
        is_restored = path in vocab.restored_resources
        self.trainable = trainable
        self.mix: nn.Parameter | None = None
        try:
            with _local_only() as transformers:
                read = _from_run if is_restored else _read
                self.network = read(transformers, path, vocab).float().eval()
            self.indexer = SubwordIndexer(
                vocab.resources[path],
                pooling,
                num_ids=len(self.network.get_input_embeddings().weight),
                max_positions=_max_positions(self.network),
            )
            # Sentence vectors are not used.
            self.network.pooler = None
            config = self.network.config
            self.output_size = config.hidden_size
            if layers == "mix":
                self.mix = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
                self.gamma = nn.Parameter(torch.ones(1))
            # A config may fit its weights, but not what a network of tokens is called with.
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self(*map(torch.from_numpy, self.indexer.index([["a", "b"]])))
        except UsageError:  # The library is not installed.
            raise
        except Exception as error:  # The library raises many classes.
            if is_restored:
                raise RunError(
                    f"{vocab.source}: transformers {transformers.__version__} cannot build the"
                    f" model of embedding transformer ({_first_line(error)})"
                ) from None
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{path}: no model can be read from it ({_first_line(error)})", key="path"
            ) from None
        self.network.learning_rate = learning_rate
        self.network.requires_grad_(trainable).train(trainable)

    def train(self, mode: bool = True) -> Transformer:
        """Set training mode; a frozen transformer always stays in evaluation mode."""
        super().train(mode)
        self.network.train(mode and self.trainable)
        return self

    def forward(
        self, subword_ids: Tensor, lengths: Tensor, positions: Tensor, tokens: Tensor
    ) -> Tensor:
        """Return `(batch, time, size)` from the arrays of SubwordIndexer; zero at padding."""
        mask = padding_mask(lengths, subword_ids.shape[1])
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            output = self.network(
                subword_ids, attention_mask=mask.long(), output_hidden_states=self.mix is not None
            )
        vectors = output.last_hidden_state
        if self.mix is not None:
            weights = self.gamma * self.mix.softmax(dim=0)
            vectors = torch.stack(output.hidden_states, dim=-1) @ weights
        positions = positions.flatten()
        sums = vectors.new_zeros(tokens.numel() + 1, self.output_size)
        sums = sums.index_add(0, positions, vectors.flatten(0, 1))
        count = torch.bincount(positions, minlength=len(sums)).clamp_min(1)
        return (sums / count.unsqueeze(1))[1:].view(*tokens.shape, self.output_size)


@contextmanager
def _local_only() -> Iterator[Any]:
    """Yield transformers, which in the block neither uses the network nor asks to execute code."""
    with required_for("embedding transformer"):
        import transformers
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with _LOCAL_ONLY:
        before = constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE
        constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE = True, 0
        try:
            yield transformers
        finally:
            constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


def _from_run(transformers: Any, path: str, vocab: Vocab) -> Any:
    """Return the network of a stored config with random weights, which the run's then replace."""
    check_json(vocab.resources[path], _STORED_SHAPE)
    config = _make_config(transformers, vocab.resources[path]["config"])
    with _describe_unknown_activation(transformers, config):
        return transformers.AutoModel.from_config(config, trust_remote_code=False)


def _make_config(transformers: Any, data: dict[str, Any]) -> Any:
    """Return the config of an encoder, without what names code; raises ValueError for others."""
    config = _find_class(transformers, data).from_dict(_select_used(data))
    # Either may name a repository of kernels; None is the library's choice for this machine.
    config._attn_implementation = config._experts_implementation = None
    return config


def _select_used(data: dict[str, Any]) -> dict[str, Any]:
    """Return what an encoder uses of a config; raises ValueError if a count in it is too large."""
    used = {key: value for key, value in data.items() if key not in _UNUSED}
    for key, value in used.items():
        for keys, limit in _LIMITS.items():
            if re.search(keys, key, re.IGNORECASE) and (found := _maximum(value)) > limit:
                raise ValueError(f"{key} is {found:,}; at most {limit:,} is allowed")
        if isinstance(value, dict):
            used[key] = _select_used(value)
    return used


def _maximum(value: Any) -> float:
    """Return the largest number in nested lists."""
    if isinstance(value, list):
        return max(map(_maximum, value), default=0)
    return value if isinstance(value, int | float) else 0


@contextmanager
def _describe_unknown_activation(transformers: Any, config: Any) -> Iterator[None]:
    """Name the key of an activation that the library does not have."""
    try:
        yield
    except KeyError:
        known = transformers.activations.ACT2FN
        for key, value in config.to_dict().items():
            if "act" in key and isinstance(value, str) and value not in known:
                raise ValueError(f"unknown {key} {value!r}{did_you_mean(value, known)}") from None
        raise


def _find_class(transformers: Any, data: dict[str, Any]) -> Any:
    """Return the class of a config if it is of one of the library's own language models.

    A model of several models would build those from further configs, which may name code.
    """
    model_type = data.get("model_type")
    if model_type in transformers.CONFIG_MAPPING:
        found = transformers.CONFIG_MAPPING[model_type]
        is_single = found in transformers.MODEL_MAPPING and not found.sub_configs
        if is_single and any(found in getattr(transformers, name) for name in _LANGUAGE_MODELS):
            return found
    raise ValueError(f"model_type {model_type!r} is not a language model that transformers has")


def _read(transformers: Any, path: str, vocab: Vocab) -> Any:
    """Return the pretrained network, and store in `vocab` what a run needs to build it."""
    folder = str(_folder(path))
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    data, _ = transformers.PreTrainedConfig.get_config_dict(folder, local_files_only=True)
    config = _make_config(transformers, data)
    if data.get("quantization_config"):
        raise ValueError("its weights are quantized; use those in floating point")
    try:
        with _describe_unknown_activation(transformers, config):
            network, info = transformers.AutoModel.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **options
            )
    except RuntimeError as error:
        if "ignore_mismatched" in str(error):
            raise ValueError("its weights do not fit config.json") from None
        raise
    # Byte-level tokenizers split a word differently after a space, as it is in a sentence.
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, config=config, add_prefix_space=True, **options
    )
    # Before it is written, for which the library lists every id that is not used.
    check_ids(tokenizer.backend_tokenizer, len(network.get_input_embeddings().weight))
    file = json.loads(tokenizer.backend_tokenizer.to_str())
    # The library would initialize missing weights at random; the pooler is not used.
    if missing := sorted(name for name in info["missing_keys"] if not name.startswith("pooler.")):
        raise ConfigError(
            f"{path}: {len(missing)} weights are missing in model.safetensors,"
            f" such as {missing[0]}",
            key="path",
        )
    if network.config.is_encoder_decoder:
        raise ConfigError(
            f"{path}: an encoder-decoder model; use an encoder or a decoder", key="path"
        )
    padding = tokenizer.pad_token_id or 0
    unknown = padding if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    vocab.resources[path] = {
        "config": json.loads(network.config.to_json_string(use_diff=False)),
        "most": int(min(tokenizer.model_max_length, _max_positions(network))),
        "unknown": unknown,
        "padding": padding,
        "tokenizer": file,
    }
    return network


def _folder(path: str) -> Path:
    """Return the folder of a model: `path`, or that of the local cache if `path` is a name."""
    folder = Path(path) if Path(path).is_dir() else _find_cached(path)
    if not any(folder.glob("*.safetensors")):
        pickled = next(folder.glob("*.bin"), None)
        reason = f"{pickled.name} is a pickle" if pickled else "it has no model.safetensors"
        raise ConfigError(f"{path}: {reason}; convert the weights to safetensors", key="path")
    if not any(file for name in _TOKENIZER_FILES for file in folder.glob(name)):
        # The library would continue with an empty tokenizer.
        raise ConfigError(f"{path}: it has no tokenizer.json", key="path")
    if (folder / "adapter_config.json").exists():
        raise ConfigError(f"{path}: it has an adapter; merge it into the weights", key="path")
    return folder


def _find_cached(name: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        folders = Path(constants.HF_HUB_CACHE).glob("models--*")
        names = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
        names += [str(config.parent) for config in Path(name).parent.glob("*/config.json")]
        hint = did_you_mean(name, names) if names else ""
        raise ConfigError(
            f"{name}: neither a folder nor in the local cache; nothing is downloaded{hint}",
            key="path",
        ) from None


def _first_line(error: Exception) -> str:
    """Return the start of an error message in one line, with the kind of a terse one."""
    message, kind = str(error), type(error).__name__
    if isinstance(error, ArithmeticError | AttributeError | LookupError | TypeError):
        message = f"{kind}: {message}"
    return shorten(message, 500, placeholder=" ...") or kind


def _max_positions(network: Any) -> int:
    """Return the maximum number of subwords; some models count positions from the padding index."""
    positions = getattr(network.config, "max_position_embeddings", None) or 512
    table = dict(network.named_modules()).get("embeddings.position_embeddings")
    padding = getattr(table, "padding_idx", None)
    return positions if padding is None else positions - padding - 1
