/// What each metric means, one sentence a name.
package enum MetricCatalog {
  package static let help: [String: String] = [
    "martlet_predict_seconds":
      "Time of a prediction by model, version, route and stage: hydrate, queue, compute, total.",
    "martlet_shadow_total":
      "Rows that were to be mirrored to a version that is only watched, by outcome: ok, failed, dropped.",
    "martlet_predictions_total": "Predictions by model, version and outcome.",
    "martlet_ingest_events_total": "Events that were stored, by source.",
    "martlet_ingest_duplicates_total":
      "Events that were stored before and so were not stored again.",
    "martlet_quarantined_total":
      "Records that failed validation and were kept aside, by source and kind of reason.",
    "martlet_quarantine_replayed_total":
      "Quarantined records whose events are stored now, by source.",
    "martlet_quarantine_dropped_total":
      "Quarantined records that retention dropped, by why: age or number.",
    "martlet_retention_dropped_events_total":
      "Events older than their source keeps them that were dropped, by source.",
    "martlet_ingest_erased_total":
      "Records of erased entity keys that came again and were not kept, by source.",
    "martlet_ingest_expired_total":
      "Events that came when they were already older than their source keeps them, by source.",
    "martlet_quarantine_records": "Records in quarantine by status, as of the last upkeep.",
    "martlet_check_failures_total":
      "Records that failed a check, by source and check, whatever became of them.",
    "martlet_check_unknown_total":
      "Values that a uniqueness check could not judge: too far before what it remembers.",
    "martlet_ingest_commit_seconds":
      "Time of a commit of pushes or of a file, until its events are stored and readable online.",
    "martlet_ingest_queue_rows": "Rows that wait for the next commit.",
    "martlet_online_store_away":
      "1 while stored events wait for an online store that cannot take them.",
    "martlet_model_reload_failures_total": "Versions that could not be loaded, by model.",
    "martlet_online_read_seconds": "Time of an online read of features.",
    "martlet_parity_compared_total":
      "Served feature values that were compared with the warehouse, by feature.",
    "martlet_parity_mismatch_total":
      "Served feature values that differed from the warehouse when they were compared, by feature.",
    "martlet_drift_score": "Distance of the last window from the training baseline, by test.",
    "martlet_null_share": "Share of nulls of a feature in the last window.",
    "martlet_worker_restarts_total": "Python workers that were replaced, by reason.",
    "martlet_workers": "Python workers by state.",
    "martlet_worker_scalings_total":
      "Workers that models were given or that were taken from them, by model and direction.",
    "martlet_model_workers": "Python workers that hold a version of a model or load it.",
    "martlet_model_waiting_calls": "Calls of a model that wait for a Python worker.",
    "martlet_log_shed_total": "Predictions that were not logged because the buffer was full.",
    "martlet_log_rows_total": "Predictions that were written to the log.",
    "martlet_jobs_total": "Attempts of jobs by kind and how they ended.",
    "martlet_openlineage_events_total":
      "OpenLineage events that were written to the file or posted, by sink.",
    "martlet_openlineage_dropped_total":
      "OpenLineage events that a sink did not take and that were given up, by sink.",
    "martlet_freshness_seconds":
      "Age of the newest applied event whose time has come, by source.",
    "martlet_future_seconds":
      "How far the event that is dated furthest ahead of the clock is ahead, by source; 0 where none is.",
    "martlet_view_freshness_seconds":
      "Age of the newest event that a view has online and whose time has come, by view.",
    "martlet_kafka_lag_records":
      "Records between what was read of a partition and its end, by topic and partition.",
    "martlet_kafka_group_lag_records":
      "Records between what the group has committed and the ends, by topic, whoever reads; every process tells it.",
    "martlet_kafka_partitions": "Partitions that the group has given this process.",
    "martlet_kafka_brokers_away": "1 while no broker answers.",
    "martlet_kafka_records_total": "Records that were read from Kafka, by topic.",
    "martlet_kafka_rebalances_total": "Times that the group gave or took partitions, by what.",
    "martlet_kafka_failures_total": "Times that reading had to begin anew, by code.",
    "martlet_kafka_unstored_records":
      "Offsets that another process has claimed and not stored, by topic and partition.",
    "martlet_kafka_repaid_records_total":
      "Records that were claimed before a process ended and were stored after it, by topic.",
    "martlet_kafka_expired_records_total":
      "Offsets that were claimed and not stored before the topic's retention deleted them, by topic.",
    "martlet_database_jobs_total":
      "Jobs of the database service by queue and outcome: done, before, failed, late, refused.",
    "martlet_database_job_seconds":
      "Time of a read or of a batch of writes, from taking it to its answer.",
    "martlet_database_queue_jobs": "Jobs that wait in a queue of the database service.",
    "martlet_definitions_version": "Version of the definitions that are in force.",
  ]
}
