#!/usr/bin/env bash
#SBATCH --job-name=gpubench-fleet
#SBATCH --array=0-63
#SBATCH --nodes=1
#SBATCH --exclusive
#SBATCH --gres=gpu:8
#SBATCH --time=01:00:00
#SBATCH --output=gpubench-%A-%a.log
# A task a node, its GPUs one after the other, every run one of the fleet of this array:
#   sbatch --array=0-63 slurm-array.sh         then, when it is done:
#   gpubench report --fleet "slurm-JOBID" --fail-on-outlier
# An array does not choose its nodes. To visit each once, give as many tasks as idle nodes and
# --exclusive; to visit certain ones, submit with --nodelist, a job a node.
set -uo pipefail

# One store for all: a server. SQLite on a shared file system loses locks.
export GPUBENCH_STORE="${GPUBENCH_STORE:?a PostgreSQL URL: postgresql+psycopg://USER@HOST/DATABASE}"
export GPUBENCH_SPOOL="${GPUBENCH_SPOOL:-$HOME/gpubench/spool}"
export GPUBENCH_HOST="${SLURMD_NODENAME:-$(hostname -s)}"
# The switch above the node names the rack, where Slurm knows the topology; else say it yourself.
if [ -n "${SLURM_TOPOLOGY_ADDR:-}" ] && [ "$SLURM_TOPOLOGY_ADDR" != "$GPUBENCH_HOST" ]; then
  rack=${SLURM_TOPOLOGY_ADDR%.*}
  export GPUBENCH_RACK="${GPUBENCH_RACK:-${rack##*.}}"
fi
source "${GPUBENCH_VENV:-$HOME/gpubench/venv}/bin/activate"

suite="${GPUBENCH_SUITE:-nightly}"
fleet="slurm-${SLURM_ARRAY_JOB_ID:?run it with sbatch}"
IFS=, read -r -a devices <<<"${CUDA_VISIBLE_DEVICES:-}"
worst=0
for ((i = 0; i < ${#devices[@]}; i++)); do
  gpubench run "$suite" --device "cuda:$i" --fleet "$fleet" --label "$GPUBENCH_HOST" --no-report
  code=$?
  if [ "$code" -gt "$worst" ]; then worst=$code; fi
done
if [ "${#devices[@]}" -eq 0 ]; then
  gpubench run "$suite" --device cpu --fleet "$fleet" --label "$GPUBENCH_HOST" --no-report
  worst=$?
fi
exit "$worst"
