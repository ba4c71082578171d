#!/usr/bin/env bash
#SBATCH --job-name=gpubench-nightly
#SBATCH --gres=gpu:1
#SBATCH --exclusive
#SBATCH --time=01:30:00
#SBATCH --output=gpubench-%j.log
#SBATCH --nodelist=node-7
# Always the same node: a history belongs to one device, so that another node starts its own.
# Submit every night with `scrontab -e`:  17 2 * * * sbatch /path/to/slurm-nightly.sh
set -uo pipefail

# SQLite wants a local disk; on many nodes with one store use PostgreSQL:
#   export GPUBENCH_STORE=postgresql+psycopg://gpubench@db.example.org/gpubench
export GPUBENCH_STORE="${GPUBENCH_STORE:-sqlite:///$HOME/gpubench/results.db}"
export GPUBENCH_SPOOL="${GPUBENCH_SPOOL:-$HOME/gpubench/spool}"
source "${GPUBENCH_VENV:-$HOME/gpubench/venv}/bin/activate"

label=$(hostname -s)  # finds this run again where several machines share a store
gpubench run nightly --no-report --label "$label"
code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 3 ]; then
  exit "$code"
fi
gpubench track publish "$HOME/gpubench/site"
gpubench track check "$label"
