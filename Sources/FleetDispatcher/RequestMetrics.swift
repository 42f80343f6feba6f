import CoreMetrics

/// Counts what became of the jobs of enqueue requests.
struct RequestMetrics: Sendable {
    private let lines: [EnqueueLine.Status: Counter]
    private let requests: Counter
    private let refused: Counter

    init(_ factory: any MetricsFactory) {
        lines = Dictionary(
            uniqueKeysWithValues: EnqueueLine.Status.allCases.map {
                (
                    $0,
                    Counter(
                        label: "gaia_enqueue_jobs_total", dimensions: [("status", $0.rawValue)], factory: factory)
                )
            })
        requests = Counter(
            label: "gaia_enqueue_requests_total", dimensions: [("outcome", "answered")], factory: factory)
        refused = Counter(label: "gaia_enqueue_requests_total", dimensions: [("outcome", "refused")], factory: factory)
    }

    func answered(_ answer: [EnqueueLine]) {
        requests.increment()
        for line in answer { lines[line.status]?.increment() }
    }

    func wasRefused() { refused.increment() }
}
