/// What the product's metrics mean, for the line above each. The parts that count know their names; a metric of a user's own
/// is described by `MetricsRegistry.describe(_:_:)`.
public enum MetricCatalogue {
    public static let help: [String: String] = [
        // Jobs in a worker.
        "gaia_jobs_total": "Attempts that ended, by type and outcome.",
        "gaia_job_stage_seconds":
            "Time of a job in each stage: queued at the broker, claim (in the worker until claimed), run, settle (until acknowledged).",
        "gaia_worker_batch_jobs":
            "Jobs to one statement of the stages claim and complete, and to one round of publishing.",
        "gaia_database_seconds": "Time until the database answered, the wait for a connection included.",

        "gaia_trace_spans_total":
            "Spans by what became of them: sent, refused by the collector, dropped because it was slow or away.",

        // The dispatcher.
        "gaia_dispatcher_duty_seconds": "Time of one round of a leader's duty.",
        "gaia_dispatcher_duty_failures_total": "Rounds of a leader's duty that failed.",
        "gaia_dispatcher_jobs_total":
            "Jobs that the leader published again (staged), made by schedules, released, owed or rescued; workers whose epoch it ended; finished jobs it removed.",
        "gaia_enqueue_jobs_total": "Jobs of enqueue requests over AMQP, by what became of them.",
        "gaia_enqueue_requests_total": "Enqueue requests over AMQP, by whether they could be read.",

        // api
        "gaia_api_requests_total": "HTTP calls that ended, by outcome.",
        "gaia_api_errors_total": "HTTP calls that failed, by what went wrong.",
        "gaia_api_request_seconds": "Time of an HTTP call, the wait for a turn and for limits included.",
        "gaia_api_active": "HTTP calls that have a turn.",
        "gaia_api_waiting": "HTTP calls that wait for a turn.",
        "gaia_api_pool_utilisation": "Part of the connections that have a call, 0 to 1.",
        "gaia_api_connections_opened_total": "Connections opened; other calls went over pooled ones.",
        "gaia_api_received_bytes_total": "Bytes received on the wire.",
        "gaia_api_sent_bytes_total": "Bytes sent on the wire.",
        "gaia_api_breakers": "Circuit breakers by state.",
        "gaia_api_breakers_opened_total": "Times a circuit breaker opened.",
        "gaia_api_retry_after_total": "Times a server asked for a pause and its host was closed to the fleet.",
        "gaia_api_refused_addresses_total": "Connections refused by the address policy, by kind of address.",
        "gaia_api_file_bytes_total": "Bytes of bodies put into files.",
        "gaia_api_batches_total": "Batches that ended, by outcome.",

        // browser
        "gaia_browser_active": "Browser jobs that have a tab or wait for one.",
        "gaia_browser_job_seconds": "Time of a browser job, by type.",
        "gaia_browser_stage_seconds": "Time of a part of a browser job.",
        "gaia_browser_jobs_total": "Browser jobs that ended, by type and outcome.",
        "gaia_browser_steps_total": "Steps of scripts, by action and outcome.",
        "gaia_browser_file_bytes_total": "Bytes of results put into files.",
        "gaia_browser_downloads_denied_total": "Downloads that pages began and were denied.",
        "gaia_browser_instances": "Browsers that run.",
        "gaia_browser_tabs": "Tabs, by what they do.",
        "gaia_browser_waiting": "Jobs that wait for a tab.",
        "gaia_browser_memory_bytes": "Memory of all browsers with all their processes.",
        "gaia_browser_leases_total": "Tabs given to jobs.",
        "gaia_browser_lease_wait_seconds": "Time that a job waited for its tab.",
        "gaia_browser_start_seconds": "Time for a browser to start.",
        "gaia_browser_crashes_total": "Tabs and browsers that crashed or hung, and removals that failed.",
        "gaia_browser_recycles_total": "Browsers replaced by plan, by reason.",
        "gaia_browser_popups_total": "Windows that pages opened, and that were closed.",
        "gaia_browser_dialogs_total": "Dialogs that pages opened, and that were answered.",
        "gaia_browser_refused_connections_total": "Connections of pages refused by the address policy.",
        "gaia_browser_blocked_navigations_total": "Navigations to schemes that are not allowed.",

        // file
        "gaia_file_active": "File operations under way.",
        "gaia_file_threads_active": "Threads that run a step of a file operation.",
        "gaia_file_steps_queued": "Steps of file operations that wait for a thread.",
        "gaia_file_read_bytes_total": "Bytes of files read.",
        "gaia_file_written_bytes_total": "Bytes written to files.",
        "gaia_file_entries_listed_total": "Entries that listings returned.",
        "gaia_file_repeats_total": "Effects that an earlier attempt had had already.",
        "gaia_file_operation_seconds": "Time of a file operation, the wait for a thread included.",
        "gaia_file_refusals_total": "Paths that were not let through, by reason.",
        "gaia_file_operations_total": "File operations that ended, by outcome.",

        // network
        "gaia_network_name_questions_total": "Questions for names, by where the answer came from.",
        "gaia_network_name_queries_total": "Queries to name servers, by outcome.",
        "gaia_network_name_queries_over_tcp_total":
            "Queries repeated over TCP, since the answer did not fit a datagram.",
        "gaia_network_name_query_seconds": "Time until a name server answered.",
        "gaia_network_name_cache_evictions_total": "Answers that left the cache before their time.",
        "gaia_network_name_cache_entries": "Answers in the cache.",
        "gaia_network_name_cache_bytes": "Memory of the cache.",
        "gaia_network_name_cache_hit_ratio": "Part of the questions that the cache answered, since the start.",
        "gaia_network_probes_total": "Probes by outcome.",
        "gaia_network_probe_connect_seconds": "Time to connect, of probes.",
        "gaia_network_probe_handshake_seconds": "Time of the TLS handshake, of probes.",
        "gaia_network_probes_active": "Probes under way.",
        "gaia_network_downloads_total": "Downloads by outcome.",
        "gaia_network_downloads_resumed_total": "Downloads that went on where an earlier attempt had broken off.",
        "gaia_network_download_bytes_total": "Bytes downloaded.",
        "gaia_network_download_seconds": "Time of a download.",
        "gaia_network_downloads_active": "Downloads under way.",

        // process
        "gaia_process_active": "Programs that run.",
        "gaia_process_run_seconds": "Time of a program, to the end of its last process.",
        "gaia_process_cpu_seconds": "Processor time of a program with all its processes.",
        "gaia_process_output_bytes_total": "Bytes that programs wrote to standard output and standard error.",
        "gaia_process_strays_total": "Processes that outlived their program and were killed.",
        "gaia_process_runs_total": "Programs that ended, by outcome.",
    ]
}
