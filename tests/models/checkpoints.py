"""Small random classifiers in the Hugging Face layout, with tokenizers made from a few words."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from tests.models.test_tagger import HEADLINES

ARCHITECTURES = ("bert", "distilbert", "roberta", "deberta-v2")
SENTIMENT_LABELS = ("Positive", "NEGATIVE", "neutral")


def make_checkpoint(
    folder: Path, architecture: str = "bert", labels: Sequence[str] = SENTIMENT_LABELS
) -> Path:
    """A classifier with random weights in `folder`, saved as transformers saves it."""
    tokenizer = _byte_pairs() if architecture == "roberta" else _word_pieces()
    tokenizer.save_pretrained(folder)
    padding = tokenizer.pad_token_id
    sizes = {"num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 48}
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": padding,
        "initializer_range": 0.5,  # logits as far apart as a trained model's
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    torch.manual_seed(0)
    if architecture == "distilbert":
        config: Any = DistilBertConfig(
            **common, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=40
        )
    elif architecture == "roberta":  # its first position is the one after the padding's
        config = RobertaConfig(
            **common, **sizes, hidden_size=32, max_position_embeddings=40 + padding + 1
        )
    elif architecture == "deberta-v2":
        config = DebertaV2Config(
            **common,
            **sizes,
            hidden_size=32,
            max_position_embeddings=40,
            relative_attention=True,
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
        )
    elif architecture == "bert-wide":  # as wide as BERT-base, where engines choose other kernels
        wide = {"num_attention_heads": 12, "num_hidden_layers": 1, "intermediate_size": 3072}
        config = BertConfig(**common, **wide, hidden_size=768, max_position_embeddings=40)
    else:
        config = BertConfig(**common, **sizes, hidden_size=32, max_position_embeddings=40)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def change_json(path: Path, **values: Any) -> None:
    """Sets the values in the file; None takes a value out."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def _word_pieces() -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(HEADLINES, trainer)
    ids = {name: tokenizer.token_to_id(name) for name in names}
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def _byte_pairs() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(HEADLINES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
    )
