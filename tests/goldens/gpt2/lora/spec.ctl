import gpt2, gpt2_tuning

model m = gpt2.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, positions = 20)

tune m with gpt2_tuning.lora(rank = 4, alpha = 8) {
    tokens 2 x 12
}
