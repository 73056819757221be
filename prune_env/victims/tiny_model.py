"""What the tiny victims are made of: a word-level tokenizer and a BERT of 4 layers x 4 heads or fewer, from scratch."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from prune_env.victims.lexicon import vocabulary
from prune_env.victims.tiny_recipe import HEADS, HIDDEN, LAYERS, POSITIONS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the corpus's tokenizer: one id a word, "[CLS] words [SEP]", unknown words as [UNK]."""
    ids = {word: i for i, word in enumerate((*SPECIAL, *vocabulary()))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=POSITIONS,
    )


def make_model(seed: int, labels: int = 2, *, layers: int = LAYERS, heads: int = HEADS) -> PreTrainedModel:
    """Returns a freshly drawn BERT classifier in eval mode: 130,000 weights at most, decided by seed and size alone."""
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(vocabulary()),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=HIDDEN,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        id2label={i: f"LABEL_{i}" for i in range(labels)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = BertForSequenceClassification(config)
    model.eval()
    return model
