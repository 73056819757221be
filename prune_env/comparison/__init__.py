"""The comparison: learned agents, scripts and searchers on the same victims at the same number of evaluations.

Contestants are found by name. Each is a `Contestant` (`prune_env.comparison.contestant`); to add one, write its
line here, and in `prune_env.comparison.tuning` what it was tuned on.
"""

from __future__ import annotations

CONTESTANTS: dict[str, str] = {
    "random": "prune_env.comparison.searching:RANDOM",
    "random-uniform": "prune_env.comparison.searching:RANDOM_UNIFORM",
    "random-layers": "prune_env.comparison.searching:RANDOM_LAYERS",
    "greedy": "prune_env.comparison.searching:GREEDY",
    "annealing": "prune_env.comparison.searching:ANNEALING",
    "evolution": "prune_env.comparison.searching:EVOLUTION",
    "scripts": "prune_env.comparison.searching:SCRIPTS",
    "script-gradient": "prune_env.comparison.searching:SCRIPT_GRADIENT",
    "script-layer-wise": "prune_env.comparison.searching:SCRIPT_LAYER_WISE",
    "script-bayesian": "prune_env.comparison.searching:SCRIPT_BAYESIAN",
    "script-anp": "prune_env.comparison.searching:SCRIPT_ANP",
    "script-pure": "prune_env.comparison.searching:SCRIPT_PURE",
    "script-epsilon-greedy": "prune_env.comparison.searching:SCRIPT_EPSILON_GREEDY",
    "linear": "prune_env.comparison.learning:LINEAR",
    "linear-slots": "prune_env.comparison.learning:LINEAR_SLOTS",
    "ppo": "prune_env.comparison.learning:PPO",
    "ppo-mlp": "prune_env.comparison.learning:PPO_MLP",
    "maskable-ppo": "prune_env.comparison.learning:MASKABLE_PPO",
    "a2c": "prune_env.comparison.learning:A2C",
    "dqn": "prune_env.comparison.learning:DQN",
    "trained-linear": "prune_env.comparison.trained:LINEAR",
    "trained-ppo": "prune_env.comparison.trained:PPO",
    "trained-maskable-ppo": "prune_env.comparison.trained:MASKABLE_PPO",
    "trained-dqn": "prune_env.comparison.trained:DQN",
}
"""Name -> "module:attribute"; the attribute is a `Contestant`."""
