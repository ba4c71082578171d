#!/usr/bin/env bash
#SBATCH --job-name=gpubench-ray
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gres=gpu:8
#SBATCH --time=01:00:00
#SBATCH --output=gpubench-ray-%j.log
# A Ray cluster within one job, for a site that has Slurm and wants live progress and retries.
set -uo pipefail
export RAY_USAGE_STATS_ENABLED=0
# Nobody else on these nodes gets into the cluster: a token of this job.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
export GPUBENCH_STORE="${GPUBENCH_STORE:-sqlite:///$HOME/gpubench/results.db}"
source "${GPUBENCH_VENV:-$HOME/gpubench/venv}/bin/activate"

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname -I | cut -d' ' -f1)
# Each node names itself for Slurm; workers of Ray inherit it.
srun --nodes=1 --ntasks=1 -w "$head" bash -c \
  "GPUBENCH_HOST=\$SLURMD_NODENAME ray start --head --node-ip-address=$address --port=6379 --include-dashboard=false --block" &
sleep 15
srun --nodes="$((SLURM_JOB_NUM_NODES - 1))" --ntasks="$((SLURM_JOB_NUM_NODES - 1))" -x "$head" bash -c \
  "GPUBENCH_HOST=\$SLURMD_NODENAME ray start --address=$address:6379 --block" &
sleep 15
gpubench run "${GPUBENCH_SUITE:-nightly}" --launcher ray --address "$address:6379" --fleet "slurm-$SLURM_JOB_ID"
code=$?
gpubench report --fleet "slurm-$SLURM_JOB_ID" --fail-on-outlier || exit 1
exit "$code"
