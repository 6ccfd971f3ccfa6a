"""A vector for each token from a pretrained transformer of Hugging Face, which reads the whole
sentence.

    h_t = mean of its pieces' vectors, or that of the first                               (pooling)
    m_t = gamma * sum_j softmax(s)_j h_t^j, over the layers j, that of the input included
    (layers: mix)

Read when training begins, from a folder or from what was fetched before; nothing is ever fetched. A
run keeps the tokenizer, the model's config and its weights, and has no need of the folder any more.
A sentence that is longer than the model reads is cut between tokens into windows, each of which is
read by itself.

Source: Devlin, Chang, Lee & Toutanova 2019, "BERT: Pre-training of Deep Bidirectional Transformers
for Language Understanding"; Peters et al. 2018, "Deep Contextualized Word Representations", eq. 1

Export: Its vectors are of whole sentences, so torch predicts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slotfill.config.option_types import FolderOrName, Positive
from slotfill.data.vocab import Vocab
from slotfill.errors import ConfigError, RunError, UsageError, did_you_mean
from slotfill.model.embeddings._subwords import SubwordIndexer
from slotfill.model.embeddings.base import Embedding

_TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model")


class Transformer(Embedding):
    """Read each sentence with a transformer, and give each token what its pieces came to.

    path: a folder with config.json, tokenizer.json and model.safetensors, or the name of a model in
    the local cache.
    pooling: which of a token's pieces count.
    layers: the last layer's vectors, or a learned mix of all.
    tune: train the transformer with the network.
    learning_rate: of the transformer, as `train.learning_rate` is of the rest.
    """

    contextual = True

    def __init__(
        self,
        vocab: Vocab,
        *,
        path: FolderOrName,
        pooling: Literal["first", "mean"] = "first",
        layers: Literal["last", "mix"] = "last",
        tune: bool = False,
        learning_rate: Positive = 5e-5,
    ) -> None:
        super().__init__()
        self.network = (
            _saved(vocab.kept[path]) if path in vocab.saved else _read(path, vocab)
        ).float()
        self.indexer = SubwordIndexer(vocab.kept[path], pooling)
        if self.indexer.room < 1:
            raise ConfigError(
                f"path: {path} reads no more than {vocab.kept[path]['most']} pieces at once"
            )
        # What it makes of a sentence as a whole, which is not asked for.
        self.network.pooler = None
        self.network.learning_rate = learning_rate
        self.tune = tune
        self.network.requires_grad_(tune).train(tune)
        config = self.network.config
        self.output_size = config.hidden_size
        self.mix: nn.Parameter | None = None
        if layers == "mix":
            self.mix = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
            self.gain = nn.Parameter(torch.ones(1))

    def train(self, mode: bool = True) -> Transformer:
        """Turn noise on or off; a transformer that is not tuned never has any."""
        super().train(mode)
        self.network.train(mode and self.tune)
        return self

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return vectors `(batch, time, size)` of what the lookup gives; zero at padding."""
        pieces, lengths, whose, tokens = arrays
        inside = torch.arange(pieces.shape[1], device=pieces.device) < lengths.unsqueeze(1)
        with torch.set_grad_enabled(self.tune and torch.is_grad_enabled()):
            found = self.network(
                pieces, attention_mask=inside.long(), output_hidden_states=self.mix is not None
            )
        vectors = found.last_hidden_state
        if self.mix is not None:
            shares = self.gain * self.mix.softmax(dim=0)
            vectors = torch.stack(found.hidden_states, dim=-1) @ shares
        places = whose.flatten()
        sums = vectors.new_zeros(tokens.numel() + 1, self.output_size).index_add(
            0, places, vectors.flatten(0, 1)
        )
        count = torch.bincount(places, minlength=len(sums)).clamp_min(1)
        return (sums / count.unsqueeze(1))[1:].view(*tokens.shape, self.output_size)


def _saved(kept: dict[str, Any]) -> Any:
    """Return the network that a run has kept, with weights drawn anew: the run's are put in their
    place.
    """
    transformers = _library()
    try:
        kind = type(transformers.AutoConfig.for_model(kept["config"]["model_type"]))
        return transformers.AutoModel.from_config(kind.from_dict(kept["config"]))
    except Exception as fault:
        # Of many classes, as below.
        raise RunError(
            f"transformers {transformers.__version__} cannot build the run's model ({_line(fault)})"
        ) from None


def _read(path: str, vocab: Vocab) -> Any:
    """Return the pretrained network, and let `vocab` keep what a run needs to build it again."""
    transformers = _library()
    folder = str(_folder(path))
    try:
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        network, notes = transformers.AutoModel.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **options
        )
        # Else a tokenizer of bytes cuts a word within a sentence as it cuts the first of a text.
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, add_prefix_space=True, **options
        )
        file = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception as fault:
        # Of many classes, for what can be wrong with each of the files.
        wrong = (
            "its weights do not fit config.json"
            if "ignore_mismatched" in str(fault)
            else _line(fault)
        )
        raise ConfigError(f"path: {path}: no model can be read from it ({wrong})") from None
    # The library would draw these at random; the pooler is not asked for.
    if missing := sorted(name for name in notes["missing_keys"] if not name.startswith("pooler.")):
        raise ConfigError(
            f"path: {path}: model.safetensors lacks {len(missing)} of its weights, such as"
            f" {missing[0]}"
        )
    if network.config.is_encoder_decoder:
        raise ConfigError(
            f"path: {path}: an encoder with a decoder; give a model that is one of them"
        )
    padding = tokenizer.pad_token_id or 0
    unknown = padding if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    config = json.loads(network.config.to_json_string(use_diff=False))
    most = min(tokenizer.model_max_length, _places(network))
    vocab.kept[path] = {
        "config": config,
        "most": most,
        "unknown": unknown,
        "padding": padding,
        "tokenizer": file,
    }
    return network


def _folder(path: str) -> Path:
    """Return the folder of a model: `path`, or where the local cache has the model of that name."""
    folder = Path(path) if Path(path).is_dir() else _cached(path)
    if not any(folder.glob("*.safetensors")):
        pickled = next(folder.glob("*.bin"), None)
        found = (
            f"{pickled.name} runs what is in it when it is read"
            if pickled
            else "no model.safetensors in it"
        )
        raise ConfigError(f"path: {path}: {found}; give weights as safetensors")
    if not any(file for name in _TOKENIZERS for file in folder.glob(name)):
        # The library would go on with a tokenizer that knows no piece.
        raise ConfigError(f"path: {path}: no tokenizer.json in it")
    return folder


def _cached(name: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        folders = Path(constants.HF_HUB_CACHE).glob("models--*")
        names = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
        names += [
            str(folder)
            for folder in Path(name).parent.glob("*")
            if (folder / "config.json").is_file()
        ]
        found = "neither a folder nor a model in the local cache, and nothing is fetched"
        raise ConfigError(
            f"path: {name}: {found}{did_you_mean(name, names) if names else ''}"
        ) from None


def _line(fault: Exception) -> str:
    """Return the begin of what `fault` says, in one line."""
    line = " ".join(str(fault).split()) or type(fault).__name__
    return line if len(line) < 160 else line[:160].rpartition(" ")[0] + " ..."


def _places(network: Any) -> int:
    """Return how many pieces the network has places for; some count them from behind the padding's."""
    most = getattr(network.config, "max_position_embeddings", None) or 512
    named = dict(network.named_modules()).get("embeddings.position_embeddings")
    before = getattr(named, "padding_idx", None)
    return most if before is None else most - before - 1


def _library() -> Any:
    # Looked at when the library is imported: nothing is to be fetched, or asked for.
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError:
        raise UsageError(
            "embedding transformer needs a library: pip install 'slotfill[transformers]'"
        ) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
