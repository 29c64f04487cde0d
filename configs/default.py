"""Every key of every experiment, with its meaning. The other configs hold differences only.

A value of None means "the code's own default"; `solver` lists the options of all builders, and only
those that are set reach the builder, so a misspelt or foreign option is an error that names it.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

NVIDIA = "https://api.ngc.nvidia.com/v2/models/nvidia/research"


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.experiment = "benchmark"  # one of those that main.py lists
    c.nfe = (5, 6, 8, 10)  # network evaluations; `sample` and `speed` take the largest

    c.solver = ConfigDict()  # one solver, for `sample`
    c.solver.name = "auto"  # auto: what measured best for this nfe (solvers/recipes.py), a solver's name, or a label
    # of `benchmark.solvers`, whose options are taken then
    c.solver.order = placeholder(int)
    c.solver.variant = placeholder(str)  # which of the published forms: the builders' docstrings have their meaning
    c.solver.form = placeholder(str)  # unipc: x0 | eps, what the multistep formula extrapolates
    c.solver.corrector = placeholder(bool)  # unipc, dpm_v3
    c.solver.half = placeholder(str)  # unipc, dpm_v3: paper | code, the corrector on one half of the range only
    c.solver.lower_order_final = placeholder(bool)
    c.solver.predictor_pseudo = placeholder(bool)  # dpm_v3
    c.solver.corrector_pseudo = placeholder(bool)  # dpm_v3
    c.solver.degenerate = placeholder(bool)  # dpm_v3: l = 1, s = b = 0
    c.solver.interpolation = placeholder(str)  # dpm_v3: spline | linear, of the statistics between their nodes
    c.solver.published = placeholder(bool)  # dpm_v3: the published integrals and options
    c.solver.orders = placeholder(str)  # singlestep: fast | fixed, how evaluations are spent on steps
    c.solver.inner = placeholder(str)  # singlestep: the grid inside a step; default: grid.name
    c.solver.coordinates = placeholder(str)  # heun: sigma | t
    c.solver.eta = placeholder(float)  # ddpm: 0 is DDIM, 1 is DDPM
    c.solver.s_churn = placeholder(float)  # edm_stochastic
    c.solver.s_min = placeholder(float)
    c.solver.s_max = placeholder(float)
    c.solver.s_noise = placeholder(float)
    c.solver.denoise_to_zero = placeholder(bool)  # any: the last evaluation replaces x by the predicted x0

    c.benchmark = ConfigDict()
    c.benchmark.solvers = ()  # the rows of the table: names separated by commas, or (label, {name and options
    # as in `solver`; grid: {keys as in `grid`}; at_nfe: {nfe: {options there}}})
    c.benchmark.reference_nfe = 100  # evaluations of the fine reference solution (UniPC of order 3, uniform in lam)
    c.benchmark.shown = 10  # images per row of grid.png

    c.published = ConfigDict()  # numbers of a paper, shown in a column of their own beside those measured
    c.published.source = ""  # whose, and of how many samples
    c.published.metric = ""
    c.published.rows = ()  # (label of benchmark.solvers, {nfe: number})

    c.grid = ConfigDict()
    c.grid.name = "lam_uniform"  # lam_uniform | t_uniform | t_quadratic | karras | given
    c.grid.t_start = placeholder(float)
    c.grid.t_end = placeholder(float)
    c.grid.rho = 7.0  # karras
    c.grid.times = ()  # given
    c.grid.snap_to = False  # move times to the nearest EMS node, as the published dpm_v3 does

    c.schedule = ConfigDict()
    c.schedule.name = "edm"  # edm | vp | vp_cosine | vp_discrete | flow
    c.schedule.beta_min = 0.1  # vp
    c.schedule.beta_max = 20.0  # vp
    c.schedule.betas = "0.00085,0.012,1000,scaled_linear"  # vp_discrete: first, last, count, linear | scaled_linear
    c.schedule.zero_terminal_snr = False  # vp_discrete: rescaled to end at alpha = 0, where eps says nothing of x0

    c.model = ConfigDict()
    c.model.name = "unet"  # unet | mixture
    c.model.checkpoint = ""  # a parameter file (.npz), the folder of a training run, or a publisher's checkpoint
    c.model.address = ""  # where the publisher has it, if `checkpoint` is empty: downloaded once, into the cache
    c.model.file = ""  # its name in the cache; empty: the end of the address
    c.model.sha256 = ""  # the publisher's, if there is one; else the file's own is recorded at its first use
    c.model.release = ""  # what a publisher's file is (models/convert/releases.py); empty: of EDM's form
    c.model.dtype = "float32"  # float32 | bfloat16
    c.model.channels = 48
    c.model.multipliers = (1, 2)
    c.model.blocks = 2
    c.model.labels = "none"  # none: unconditional | all: sample i is of class i mod classes, as many of each | random:
    # of a class that its own random numbers choose, uniformly | one class number

    c.mixture = ConfigDict()  # model.name = "mixture": a random Gaussian mixture, whose score is exact
    c.mixture.shape = (2,)
    c.mixture.components = 6
    c.mixture.radius = 0.8  # of the sphere that the means lie on
    c.mixture.deviations = (0.03, 0.2)  # range of the standard deviations along the axes of a component
    c.mixture.seed = 0

    c.guidance = ConfigDict()
    c.guidance.scale = 1.0  # 1: no guidance, 0 with a classifier. A guided evaluation is counted once
    c.guidance.checkpoint = ""  # of a noisy classifier, which guides then; this and the next four: as in `model`
    c.guidance.address = ""
    c.guidance.file = ""
    c.guidance.sha256 = ""
    c.guidance.release = ""

    c.ems = ConfigDict()
    c.ems.path = ""
    c.ems.nodes = 120  # G: intervals of the grid in lam
    c.ems.points = 1024  # K: points per node
    c.ems.rule = "auto"  # auto | noised | samples | trajectory: where the points come from
    c.ems.basis = "pixels"  # pixels | dct | pca | channels: coordinates of statistics and solver (pca: needs reference)
    c.ems.model = "network"  # network | gaussian: the closed form of the data's Gaussian, without the network
    c.ems.gaussian_above = placeholder(float)  # sigma / alpha above which the closed form replaces the network's EMS
    c.ems.probes = 1  # random probes per point for the diagonal of the Jacobian; 0: the exact diagonal
    c.ems.derivative = "differences"  # of l in lam: differences | path, exact at twice the cost
    c.ems.error = 0.01  # standard error of l, s, b that the number of points is reported for
    c.ems.l = placeholder(float)  # this and the next seven: solvers.ems.Recipe, what becomes of the moments
    c.ems.window = placeholder(int)
    c.ems.ridge = placeholder(float)
    c.ems.round_off = placeholder(float)
    c.ems.negligible = placeholder(float)
    c.ems.cap = placeholder(float)
    c.ems.shrink = placeholder(float)
    c.ems.r2 = placeholder(float)
    c.ems.seed = 1  # of noise and probes
    c.ems.batch = 32
    c.ems.shard = 256  # points of a unit of work, which is what a killed run loses at most
    c.ems.block = 8  # noise levels of a unit
    c.ems.accept = False  # take EMS of another network, schedule or guidance as they are

    c.teleport = ConfigDict()
    c.teleport.sigma = placeholder(float)  # sigma / alpha to which the closed form of a Gaussian takes the noise
    c.teleport.gaussian = ""  # a file of `fit_gaussian`; a component per class where samples have labels. With it, the
    # solver `auto` teleports where that measured better
    c.teleport.sigmas = (40.0, 20.0, 10.0, 5.0, 2.5, 1.0)  # what the experiments `teleport` and `choose_skip` try
    c.teleport.share = 0.99  # `choose_skip`: of the denoiser that the Gaussian must explain
    c.teleport.intervals = 0  # `teleport`: of EDM's Heun, 0 for none
    c.teleport.skips = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12)  # how many of them are skipped
    c.teleport.seeds = (0,)

    c.data = ConfigDict()
    c.data.name = "fashion_mnist"
    c.data.path = ""  # a folder with the data set; empty: the system package, else download
    c.images = ""  # for `ems`: a folder of samples/*.npz, or one file; empty: the training set. For `score` and
    # `reference`: any images (experiments/data/images.py)
    c.features = "auto"  # classifier | inception | spatial (of Inception, for sFID) | pixels | none: distances are in
    # these; auto: the classifier where there is one, else Inception for `score` and `reference`, and none elsewhere
    c.reference = ""  # moments of the data in these features: a path or an address
    c.classifier = ""  # parameters of the feature network

    c.inception = ConfigDict()  # Inception-v3 of 2015-12-05: any released form of its weights, as in `model`
    c.inception.checkpoint = ""
    c.inception.address = f"{NVIDIA}/stylegan3/versions/1/files/metrics/inception-2015-12-05.pkl"
    c.inception.file = ""
    c.inception.sha256 = ""

    c.score = ConfigDict()
    c.score.metrics = ()  # beside the Fréchet distance, see experiments/images/score.py
    c.score.solution = ""  # images that `rmse` is to
    c.score.extrapolate = False  # the distance of infinitely many images, too
    c.score.batch = 64
    c.score.layout = "mu, sigma"  # of the file that `reference` writes: arr_0 | mu_s, sigma_s | pool_3 | edm2

    c.oracle = ""  # for `parity` and `convergence`: a directory of official samplers' numbers

    c.sample = ConfigDict()
    c.sample.count = 1000
    c.sample.batch = 64
    c.sample.seed = 0
    c.sample.devices = 0  # on how many devices; 0: all
    c.sample.block = 512  # images per file of `sample`; a finished file is not sampled again on restart
    c.sample.keep = "npz"  # npz | png: as images/000000/000123.png | none: features and sums of images, not the images
    c.sample.scored = ()  # `sample` and `score` also score the first so many images, whatever the count

    c.train = ConfigDict()
    c.train.steps = 20_000
    c.train.batch = 128
    c.train.chunk = 50  # steps per jitted call; losses are logged per step, files written per chunk
    c.train.save_every = 1000  # steps between checkpoints
    c.train.snapshots = 0  # at how many steps, spaced logarithmically, the parameters are kept for `learning`
    c.train.seed = 0
    c.train.init = ""  # parameters to start from: a file, or the folder of a run; empty: random ones
    c.train.optimizer = "adam"  # adam | muon: fewer images for the same loss, at some 5 % more time per image
    c.train.learning_rate = 1e-3
    c.train.warmup = 1000  # steps
    c.train.ema_images = 500_000  # half-life of the parameter average, in images
    c.train.label_dropout = 0.5  # share of examples trained without their label
    c.train.p_mean = -1.2  # log-normal part of the training noise, in log sigma
    c.train.p_std = 1.2
    c.train.uniform_share = 0.3  # share of the noise drawn log-uniform over the sampling range instead
    c.train.devices = 0  # 0: all; on a CPU with several cores two simulated devices are faster
    c.train.classifier_epochs = 10.0  # passes over the data for the feature network (experiment=classifier)

    c.speed = ConfigDict()
    c.speed.batch = 64
    c.speed.repeats = 10  # interleaved measurements of each kind

    c.throughput = ConfigDict()
    c.throughput.batches = (16, 32, 64, 128, 256)  # of all devices together; the rest is with the fastest
    c.throughput.devices = (1, 2, 4, 8)  # on how many it is measured, of those that there are: see cpu_devices
    c.throughput.count = 4096  # images of each contestant; `sample.keep` and `sample.block` count
    c.throughput.segment = 512  # images of one measurement
    c.throughput.repeats = 5  # measurements of each batch, of each number of devices, and of compilation

    c.peers = ConfigDict()  # `peers`: this project's sampling beside that of others, whatever of them is installed
    c.peers.shapes = "64x32x32x3, 1x512x512x3, 16x64x64x3, 256x12288"  # of states, samples first
    c.peers.steps = 10  # with a cheap network, for the overhead per step
    c.peers.nodes = 20  # intervals of the statistics, a multiple of the steps: more cost DPM-Solver-v3 memory only
    c.peers.repeats = 20
    c.peers.nfe = 5  # of the whole sampling of the DDPM++
    c.peers.batch = 0  # 0: 16 on a CPU, 256 on a GPU; rounded up to the devices
    c.peers.channels = 128  # the published width
    c.peers.blocks = 4  # and the published number of blocks per resolution
    c.peers.network_repeats = 3
    c.peers.dpm_v3 = ""  # a checkout of github.com/thu-ml/DPM-Solver-v3; empty: its official samplers are left out
    c.peers.edm = ""  # a checkout of github.com/NVlabs/edm; empty: the DDPM++ is timed here only

    c.health = ConfigDict()
    c.health.count = 64  # samples, and training images, that the network is looked at with

    c.spectrum = ConfigDict()  # of the solvers of `benchmark.solvers`, where dpm_v3 may set ems: pixels | modes
    c.spectrum.variances = (1e-6, 1e2, 121)  # smallest, largest, count: log-spaced

    c.ablation = ConfigDict()  # `ems_ablation`
    c.ablation.rows = ()  # (label, {keys of `ems`}, {solver options as in benchmark.solvers})
    c.ablation.seeds = (0, 1)

    c.gaussian = ConfigDict()  # `fit_gaussian`: of the training images
    c.gaussian.kind = "gaussian"  # gaussian | classes: one per class | kmeans: one per cluster
    c.gaussian.components = 10  # kmeans
    c.gaussian.rank = placeholder(int)  # directions of each covariance that are kept; default: all
    c.gaussian.biased = False  # divide by N instead of N - 1
    c.gaussian.seed = 42  # kmeans
    c.gaussian.dtype = "float64"  # float64 | float32, of the file

    c.learning = ConfigDict()  # what closed forms explain of the score, snapshot by snapshot of a training
    c.learning.run = ""  # the workdir of a training run with train.snapshots
    c.learning.sigmas = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # noise levels sigma / alpha
    c.learning.images = 512  # training images, and as many test images
    c.learning.components = 20  # of the k-means mixture
    c.learning.rank = 256  # of its covariances

    c.convergence = ConfigDict()  # of the solvers of `benchmark.solvers`
    c.convergence.schedules = ("edm", "vp")  # a panel each

    c.trajectories = ConfigDict()  # the network's beside those of closed-form scores
    c.trajectories.count = 128  # samples
    c.trajectories.levels = 101  # noise levels, and network evaluations, of a trajectory
    c.trajectories.threshold = 0.01  # mean squared difference at which solutions part
    c.trajectories.shown = 12  # samples in the pictures

    c.flows = ConfigDict()  # `flows_2d`: of `mixture`, its Gaussian, and points drawn from it
    c.flows.schedules = ("edm", "vp", "flow")  # a figure each
    c.flows.sigmas = (2.0, 0.7, 0.3, 0.1)  # noise levels sigma / alpha of the fields
    c.flows.points = 24  # of the delta distribution
    c.flows.range = (20.0, 0.005)  # sigma / alpha where trajectories start and end
    c.flows.count = 48  # trajectories
    c.flows.levels = 201  # noise levels of a trajectory

    c.score_analysis = ConfigDict()  # how much of the network's score closed forms explain
    c.score_analysis.sigmas = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 80.0)
    c.score_analysis.images = 1024  # noised training images, and as many test images
    c.score_analysis.ranks = (8, 16, 32, 64, 96, 128, 256, 512, 784)  # that the Gaussian is truncated to
    c.score_analysis.components = (2, 5, 10, 20, 50, 100)  # of the k-means mixtures
    c.score_analysis.directions = 12_800  # components times rank of a mixture, which bounds its time and memory
    c.score_analysis.mixture_ranks = (8, 32, 128)  # lower ranks, for all of them
    c.score_analysis.share = 0.99  # the smallest noise level is sought from which on a score explains this

    c.distributed = ConfigDict()  # one run on several machines, of `ems` or `sample`: one command but for `process`
    c.distributed.coordinator = ""  # host:port, where process 0 listens; empty: one process; auto: as the environment
    # says, JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or Slurm, MPI, Kubernetes, a TPU pod
    c.distributed.processes = 1
    c.distributed.process = 0  # which of them this is

    c.cpu_devices = 0  # simulated devices where there is no accelerator; 0: one per core, at most 8
    c.compilation_cache = ""  # a folder: compiled programs are kept there between runs
    return c.lock()
