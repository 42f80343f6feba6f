public import CoreMetrics
import Synchronization

/// All metrics of a process: makes them for whoever counts, and reads them out together.
///
/// A metric that is asked for twice, with the same name and dimensions in whatever order, is one metric.
public final class MetricsRegistry: MetricsFactory {
    private struct State {
        var families: [String: Family] = [:]
        var help: [String: String] = [:]
        var collectors: [@Sendable () -> [MetricSample]] = []
        var seriesCount = 0
        var refused = 0
    }

    private struct Family {
        let kind: MetricKind
        var series: [[MetricLabel]: any Series] = [:]
    }

    private let state = Mutex(State())
    private let seriesMax: Int

    /// A host or a key that became a dimension by mistake must not fill the memory: what is made beyond this many is counted
    /// in `gaia_metrics_refused_total` and not shown.
    public static let seriesMaxDefault = 10_000

    public init(seriesMax: Int = MetricsRegistry.seriesMaxDefault) { self.seriesMax = seriesMax }

    /// What a metric means, for the line above it.
    public func describe(_ name: String, _ help: String) {
        state.withLock { $0.help[MetricName.cleaned(name)] = help }
    }

    /// Has `read` asked at each look, for what somebody else counts already.
    public func collect(_ read: @escaping @Sendable () -> [MetricSample]) {
        state.withLock { $0.collectors.append(read) }
    }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions, .counter) { CounterSeries() }
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, .gauge) { GaugeSeries() }
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        aggregate
            ? series(label, dimensions, .histogram) { HistogramSeries(bounds: HistogramBounds.of(label)) }
            : series(label, dimensions, .gauge) { GaugeSeries() }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, .histogram) { HistogramSeries(bounds: HistogramBounds.seconds) }
    }

    // A series stays as long as the process: one that went and came again would look like a restart.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    private func series<Made: Series>(
        _ label: String, _ dimensions: [(String, String)], _ kind: MetricKind, _ make: () -> Made
    ) -> Made {
        let name = MetricName.cleaned(label)
        let labels = MetricLabel.sorted(dimensions)
        return state.withLock { state in
            let family = state.families[name]
            if let known = family?.series[labels] as? Made { return known }
            let made = make()
            // Two kinds of metric under one name could not be read by anybody.
            guard family == nil || family?.kind == kind, state.seriesCount < seriesMax else {
                state.refused += 1
                return made
            }
            state.families[name, default: Family(kind: kind)].series[labels] = made
            state.seriesCount += 1
            return made
        }
    }

    // MARK: Reading

    /// Everything as it is now.
    public func exposition(_ format: ExpositionFormat = .prometheus) -> String {
        let (families, help, collectors, refused) = state.withLock {
            ($0.families, $0.help, $0.collectors, $0.refused)
        }
        var pages: [String: Exposition.Page] = [:]
        for (name, family) in families {
            pages[name] = Exposition.Page(
                kind: family.kind, help: help[name],
                rows: family.series.map { Exposition.Row(labels: $0.key, value: $0.value.value) })
        }
        let own = MetricSample(
            "gaia_metrics_refused_total", .counter, help: "Series that were not kept: too many, or of two kinds.",
            value: Double(refused))
        for sample in collectors.flatMap({ $0() }) + [own] {
            pages[sample.name, default: Exposition.Page(kind: sample.kind, help: sample.help, rows: [])].rows.append(
                Exposition.Row(labels: sample.labels, value: .number(sample.value)))
        }
        return Exposition.text(pages, format)
    }
}

/// What a metric is to whoever reads it.
public enum MetricKind: String, Sendable {
    /// Only rises, until the process ends.
    case counter
    case gauge
    case histogram
}

/// One value of a metric that somebody else counts.
public struct MetricSample: Sendable {
    let name: String
    let kind: MetricKind
    let help: String
    let labels: [MetricLabel]
    let value: Double

    public init(
        _ name: String, _ kind: MetricKind, help: String, _ labels: [(String, String)] = [], value: Double
    ) {
        self.name = MetricName.cleaned(name)
        self.kind = kind
        self.help = help
        self.labels = MetricLabel.sorted(labels)
        self.value = value
    }
}

/// A dimension and its value.
struct MetricLabel: Hashable, Sendable, Comparable {
    let name: String
    let value: String

    static func sorted(_ dimensions: [(String, String)]) -> [MetricLabel] {
        dimensions.map { MetricLabel(name: MetricName.cleaned($0.0), value: $0.1) }.sorted()
    }

    static func < (left: MetricLabel, right: MetricLabel) -> Bool {
        (left.name, left.value) < (right.name, right.value)
    }
}

enum MetricName {
    /// As Prometheus takes it: letters, digits and underscores, no digit first.
    static func cleaned(_ name: String) -> String {
        func isFit(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        let fit = String(decoding: name.utf8.map { isFit($0) ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
        return fit.first?.isNumber ?? true ? "_" + fit : fit
    }
}
